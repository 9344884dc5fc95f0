-- Portable SQL; $id and $blob are the dialect's spelling of an automatic key and of bytes. Times are unix seconds.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,
    size BIGINT NOT NULL,
    data $blob NOT NULL
);

CREATE TABLE releases (
    id $id,
    cluster TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    uid TEXT NOT NULL UNIQUE,
    created DOUBLE PRECISION NOT NULL,
    UNIQUE (cluster, namespace, name)
);

CREATE TABLE revisions (
    release_id BIGINT NOT NULL REFERENCES releases (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    status TEXT NOT NULL,
    chart_name TEXT NOT NULL,
    chart_version TEXT NOT NULL,
    app_version TEXT NOT NULL,
    chart_digest TEXT NOT NULL,
    chart_origin TEXT NOT NULL,
    description TEXT NOT NULL,
    labels TEXT NOT NULL,
    created DOUBLE PRECISION NOT NULL,
    updated DOUBLE PRECISION NOT NULL,
    author TEXT NOT NULL,
    rollback_of BIGINT,
    pvehelm_version TEXT NOT NULL,
    user_values TEXT REFERENCES blobs (digest),
    computed_values TEXT REFERENCES blobs (digest),
    manifest TEXT REFERENCES blobs (digest),
    plan TEXT REFERENCES blobs (digest),
    notes TEXT REFERENCES blobs (digest),
    events TEXT REFERENCES blobs (digest),
    archive TEXT REFERENCES blobs (digest),
    PRIMARY KEY (release_id, number)
);

CREATE TABLE inventory (
    release_id BIGINT NOT NULL REFERENCES releases (id) ON DELETE CASCADE,
    ref TEXT NOT NULL,
    cluster TEXT NOT NULL,
    identity TEXT NOT NULL,
    vmid BIGINT,
    body TEXT NOT NULL,
    PRIMARY KEY (release_id, ref)
);

CREATE INDEX inventory_identity ON inventory (cluster, identity);

CREATE TABLE reservations (
    cluster TEXT NOT NULL,
    vmid BIGINT NOT NULL,
    release_id BIGINT NOT NULL REFERENCES releases (id) ON DELETE CASCADE,
    ref TEXT NOT NULL,
    created DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (cluster, vmid)
);

CREATE INDEX reservations_ref ON reservations (release_id, ref);

CREATE TABLE journal (
    id $id,
    release_id BIGINT NOT NULL REFERENCES releases (id) ON DELETE CASCADE,
    scope TEXT NOT NULL,
    fence BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    ref TEXT NOT NULL,
    op TEXT NOT NULL,
    intent TEXT NOT NULL,
    upid TEXT NOT NULL,
    started DOUBLE PRECISION NOT NULL,
    ok SMALLINT,
    result TEXT,
    error TEXT NOT NULL,
    finished DOUBLE PRECISION
);

CREATE INDEX journal_release ON journal (release_id, revision, seq);

CREATE INDEX journal_fence ON journal (scope, fence);

CREATE TABLE leases (
    scope TEXT PRIMARY KEY,
    fence BIGINT NOT NULL,
    held SMALLINT NOT NULL,
    holder TEXT NOT NULL,
    host TEXT NOT NULL,
    machine TEXT NOT NULL,
    pid BIGINT NOT NULL,
    pid_start TEXT NOT NULL,
    purpose TEXT NOT NULL,
    ttl DOUBLE PRECISION NOT NULL,
    since DOUBLE PRECISION NOT NULL,
    expires DOUBLE PRECISION NOT NULL
);

CREATE TABLE secrets (
    release_id BIGINT NOT NULL REFERENCES releases (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    sealed $blob NOT NULL,
    updated DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (release_id, name)
);
