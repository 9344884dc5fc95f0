# Sets up PostgreSQL on its own disk, as a primary or as a replica that follows it. Safe to run again.
set -eu
export DEBIAN_FRONTEND=noninteractive
command -v cloud-init >/dev/null && cloud-init status --wait >/dev/null || true

# The data disk, scsi1: a file system is made only where there is none.
disk=/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-scsi1
mkdir -p /var/lib/postgresql
if ! mountpoint -q /var/lib/postgresql; then
    blkid "$disk" >/dev/null || mkfs.ext4 -q -L pgdata "$disk"
    grep -q '^LABEL=pgdata' /etc/fstab || echo 'LABEL=pgdata /var/lib/postgresql ext4 defaults,noatime 0 2' >> /etc/fstab
    mount /var/lib/postgresql
fi
resize2fs "$disk" >/dev/null 2>&1 || true

# The server.
if ! command -v pg_createcluster >/dev/null || [ ! -x "/usr/lib/postgresql/$VERSION/bin/postgres" ]; then
    apt-get update -q
    apt-get install -qy postgresql-common
    sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    if [ -n "$REPOSITORY" ]; then /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y; fi
    apt-get install -qy "postgresql-$VERSION"
fi
data="/var/lib/postgresql/$VERSION/main"
config="/etc/postgresql/$VERSION/main"
if [ ! -s "$data/PG_VERSION" ]; then
    pg_createcluster "$VERSION" main
    if [ "$ROLE" = replica ]; then
        rm -rf "$data"
        printf '%s:*:*:replicator:%s\n' "$PRIMARY" "$REPLICATION_PASSWORD" > /var/lib/postgresql/.pgpass
        chown postgres:postgres /var/lib/postgresql /var/lib/postgresql/.pgpass
        chmod 600 /var/lib/postgresql/.pgpass
        runuser -u postgres -- "/usr/lib/postgresql/$VERSION/bin/pg_basebackup" \
            -h "$PRIMARY" -p "$PORT" -U replicator -D "$data" -R -S "$SLOT" -X stream
    fi
elif [ ! -d "$config" ]; then
    pg_createcluster "$VERSION" main -d "$data" # the disk of an earlier machine
fi

# A file is replaced, and the server restarted, only where something differs.
changed=""
put() {
    cat > "$1.new"
    if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1" && chown postgres:postgres "$1" && changed=yes; fi
}
mkdir -p "$config/conf.d"
{
    echo "listen_addresses = '*'"
    echo "port = $PORT"
    echo "shared_buffers = '$BUFFERS'"
    echo "wal_level = replica"
    echo "hot_standby = on"
    echo "max_wal_senders = 25"
    echo "max_replication_slots = 25"
    printf '%b\n' "$SETTINGS"
} > /run/pvehelm.conf
put "$config/conf.d/pvehelm.conf" < /run/pvehelm.conf
{
    echo "local all postgres peer"
    echo "local all all peer"
    for network in $CLIENTS; do echo "host all all $network scram-sha-256"; done
    for address in $REPLICAS; do echo "host replication replicator $address scram-sha-256"; done
} > /run/pvehelm.conf
put "$config/pg_hba.conf" < /run/pvehelm.conf
systemctl enable -q "postgresql@$VERSION-main"
if [ -n "$changed" ]; then systemctl restart "postgresql@$VERSION-main"; else systemctl start "postgresql@$VERSION-main"; fi

[ "$ROLE" = primary ] || exit 0
run() { runuser -u postgres -- psql -p "$PORT" -v ON_ERROR_STOP=1 -qAt "$@"; }
# psql quotes the values itself, so a password may hold anything.
run -v owner="$OWNER" -v password="$OWNER_PASSWORD" -v secret="$REPLICATION_PASSWORD" <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', :'owner') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'owner') \gexec
SELECT 'CREATE ROLE replicator LOGIN REPLICATION' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'replicator') \gexec
ALTER ROLE :"owner" PASSWORD :'password';
ALTER ROLE replicator PASSWORD :'secret';
SQL
run -v owner="$OWNER" -v name="$DATABASE" <<'SQL'
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'owner') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
SQL
number=1
for address in $REPLICAS; do
    run -v slot="replica_$number" <<'SQL'
SELECT pg_create_physical_replication_slot(:'slot') WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'slot')
SQL
    number=$((number + 1))
done
