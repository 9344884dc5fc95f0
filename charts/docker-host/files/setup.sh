# Installs Docker with its data on a disk of its own and brings the stacks up. Safe to run again.
set -eu
export DEBIAN_FRONTEND=noninteractive
command -v cloud-init >/dev/null && cloud-init status --wait >/dev/null || true

# The data disk, scsi1: a file system is made only where there is none.
disk=/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-scsi1
mkdir -p /var/lib/docker
if ! mountpoint -q /var/lib/docker; then
    blkid "$disk" >/dev/null || mkfs.ext4 -q -L docker "$disk"
    grep -q '^LABEL=docker' /etc/fstab || echo 'LABEL=docker /var/lib/docker ext4 defaults,noatime 0 2' >> /etc/fstab
    mount /var/lib/docker
fi
resize2fs "$disk" >/dev/null 2>&1 || true

changed=""
if cmp -s /etc/docker/daemon.json.new /etc/docker/daemon.json; then
    rm /etc/docker/daemon.json.new
else
    mv /etc/docker/daemon.json.new /etc/docker/daemon.json
    changed=yes
fi
if ! command -v docker >/dev/null; then
    apt-get update -q
    if [ "$SOURCE" = docker ]; then
        . /etc/os-release
        apt-get install -qy ca-certificates curl
        install -m 0755 -d /etc/apt/keyrings
        curl -fsSL --retry 5 "https://download.docker.com/linux/$ID/gpg" -o /etc/apt/keyrings/docker.asc
        echo "deb [signed-by=/etc/apt/keyrings/docker.asc] https://download.docker.com/linux/$ID $VERSION_CODENAME stable" \
            > /etc/apt/sources.list.d/docker.list
        apt-get update -q
        apt-get install -qy docker-ce docker-ce-cli containerd.io docker-compose-plugin
    else
        apt-get install -qy docker.io docker-compose
    fi
elif [ -n "$changed" ]; then
    systemctl restart docker
fi
compose() { if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi; }

# Stacks that are no longer wanted go down, their volumes stay.
mv /srv/stacks/.env.new /srv/stacks/.env
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
