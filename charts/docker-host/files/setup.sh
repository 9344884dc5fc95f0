# Installs Docker with its data on a disk of its own and brings the stacks up. Safe to run again.
set -eu
export DEBIAN_FRONTEND=noninteractive

# The first start is over, and with it what cloud-init does.
booted() {
    if command -v cloud-init >/dev/null; then cloud-init status --wait >/dev/null || true; fi
}

# apt-get ARGUMENTS..., again after a while: a new machine's daily updates hold its locks, and mirrors are not always there.
packages() {
    left=10
    until apt-get -qy -o DPkg::Lock::Timeout=300 "$@"; do
        left=$((left - 1))
        if [ "$left" -eq 0 ]; then return 1; fi
        sleep 10
    done
}

# data_disk LABEL FOLDER: the disk scsi1 is mounted there. A file system is made only where nothing is.
data_disk() {
    disk=/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-scsi1
    left=30
    until [ -b "$disk" ]; do
        left=$((left - 1))
        if [ "$left" -eq 0 ]; then echo "there is no disk scsi1" >&2; return 1; fi
        sleep 1
    done
    mkdir -p "$2"
    if ! mountpoint -q "$2"; then
        found=0
        blkid -p "$disk" >/dev/null || found=$?
        case $found in
            0) ;;
            2) mkfs.ext4 -q -L "$1" "$disk" ;;
            *) echo "scsi1 holds something that cannot be told: look at it with blkid -p" >&2; return 1 ;;
        esac
        grep -q "^LABEL=$1 " /etc/fstab || echo "LABEL=$1 $2 ext4 defaults,noatime 0 2" >> /etc/fstab
        mount "$2"
    fi
    resize2fs "$disk" >/dev/null 2>&1 || true
}

booted
data_disk docker /var/lib/docker

changed=""
if cmp -s /etc/docker/daemon.json.new /etc/docker/daemon.json; then
    rm /etc/docker/daemon.json.new
else
    mv /etc/docker/daemon.json.new /etc/docker/daemon.json
    changed=yes
fi
if ! command -v docker >/dev/null; then
    packages update
    if [ "$SOURCE" = docker ]; then
        . /etc/os-release
        packages install ca-certificates curl
        install -m 0755 -d /etc/apt/keyrings
        curl -fsSL --retry 5 "https://download.docker.com/linux/$ID/gpg" -o /etc/apt/keyrings/docker.asc
        echo "deb [signed-by=/etc/apt/keyrings/docker.asc] https://download.docker.com/linux/$ID $VERSION_CODENAME stable" \
            > /etc/apt/sources.list.d/docker.list
        packages update
        packages install docker-ce docker-ce-cli containerd.io docker-compose-plugin
    else
        packages install docker.io docker-compose
    fi
elif [ -n "$changed" ]; then
    systemctl restart docker
fi

# Compose looks for $NAME and quotes in the values of its .env, so they are put as they are meant. Compose 1 and 2 do not agree
# on all of them: what this script starts has them from the environment, which both take first, and .env is for people.
compose() (
    if docker compose version >/dev/null 2>&1; then
        set -- "$(command -v docker)" compose "$@"
    else
        set -- "$(command -v docker-compose)" "$@"
    fi
    # In a shell of its own: a variable may have the name of one of this script's.
    while IFS= read -r __line; do export "${__line?}"; done < /srv/stacks/.env.new
    exec "$@" < /dev/null
)
umask 077
while IFS= read -r line; do
    name=${line%%=*}
    value=${line#*=}
    case $value in
        *\'*) printf '%s="%s"\n' "$name" "$(printf %s "$value" | sed 's/[\\"$]/\\&/g')" ;;
        *) printf "%s='%s'\n" "$name" "$value" ;;
    esac
done < /srv/stacks/.env.new > /srv/stacks/.env
umask 022

# Stacks that are no longer wanted go down, their volumes stay.
for folder in /srv/stacks/*/; do
    [ -d "$folder" ] || continue
    name=$(basename "$folder")
    case " $STACKS " in
        *" $name "*) ;;
        *) compose -p "$name" -f "$folder/compose.yaml" --env-file /srv/stacks/.env down && rm -r "$folder" ;;
    esac
done
for name in $STACKS; do
    compose -p "$name" -f "/srv/stacks/$name/compose.yaml" --env-file /srv/stacks/.env up -d --remove-orphans
done
rm /srv/stacks/.env.new
