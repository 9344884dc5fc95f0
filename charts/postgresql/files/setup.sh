# Sets up PostgreSQL on its own disk, as a primary or as a replica that follows it. Safe to run again.
booted
data_disk pgdata /var/lib/postgresql

# A new major version is a move of the data, which nobody should find done by accident.
data="/var/lib/postgresql/$VERSION/main"
config="/etc/postgresql/$VERSION/main"
for other in /var/lib/postgresql/*/main; do
    if [ -s "$other/PG_VERSION" ] && [ ! -s "$data/PG_VERSION" ]; then
        echo "there is a database of version $(cat "$other/PG_VERSION"): bring it to $VERSION with pg_upgradecluster first" >&2
        exit 1
    fi
done

# The server.
if ! command -v pg_createcluster >/dev/null || [ ! -x "/usr/lib/postgresql/$VERSION/bin/postgres" ]; then
    packages update
    packages install postgresql-common
    sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    if [ -n "$REPOSITORY" ]; then /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y; fi
    packages install "postgresql-$VERSION"
fi
if [ ! -s "$data/PG_VERSION" ]; then
    if [ "$ROLE" = primary ] || [ ! -d "$config" ]; then pg_createcluster "$VERSION" main; fi
    if [ "$ROLE" = replica ]; then
        rm -rf "$data"
        escaped=$(printf %s "$REPLICATION_PASSWORD" | sed 's/[\\:]/\\&/g')
        printf '%s:*:*:replicator:%s\n' "$PRIMARY" "$escaped" > /var/lib/postgresql/.pgpass
        chown postgres:postgres /var/lib/postgresql /var/lib/postgresql/.pgpass
        chmod 600 /var/lib/postgresql/.pgpass
        # Beside its place, so that a copy that breaks off is not taken for a database.
        rm -rf "$data.copy"
        runuser -u postgres -- "/usr/lib/postgresql/$VERSION/bin/pg_basebackup" \
            -h "$PRIMARY" -p "$PORT" -U replicator -D "$data.copy" -R -S "$SLOT" -X stream
        mv "$data.copy" "$data"
    fi
elif [ ! -d "$config" ]; then
    pg_createcluster "$VERSION" main -d "$data" # the disk of an earlier machine
fi

# The server is restarted only where its settings differ; who may connect is read again.
{
    echo "listen_addresses = '*'"
    echo "port = $PORT"
    echo "shared_buffers = '$BUFFERS'"
    echo "wal_level = replica"
    echo "hot_standby = on"
    echo "max_wal_senders = 25"
    echo "max_replication_slots = 25"
    printf '%s\n' "$SETTINGS"
} | {
    put "$config/conf.d/pvehelm.conf" postgres:postgres
    if [ -n "$changed" ]; then touch /run/pvehelm-restart; fi
}
{
    echo "local all postgres peer"
    echo "local all all peer"
    for network in $CLIENTS; do echo "host all all $network scram-sha-256"; done
    for address in $REPLICAS; do echo "host replication replicator $address scram-sha-256"; done
} | put "$config/pg_hba.conf" postgres:postgres
systemctl enable -q "postgresql@$VERSION-main"
if [ -e /run/pvehelm-restart ]; then
    systemctl restart "postgresql@$VERSION-main"
    rm /run/pvehelm-restart
else
    systemctl start "postgresql@$VERSION-main"
    systemctl reload "postgresql@$VERSION-main"
fi

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
number=0
for address in $REPLICAS; do
    number=$((number + 1))
    run -v slot="replica_$number" <<'SQL'
SELECT pg_create_physical_replication_slot(:'slot') WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'slot')
SQL
done
# The slot of a replica that is gone keeps the log for ever, until the disk is full.
run -v count="$number" <<'SQL'
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
 WHERE slot_name ~ '^replica_[0-9]+$' AND substring(slot_name FROM 9)::int > :'count'::int AND NOT active
SQL
