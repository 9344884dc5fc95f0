-- Who did what and when, append-only. `body` is JSON with the hash of the entry before it; `hash` is over `body`.

CREATE TABLE audit (
    seq BIGINT PRIMARY KEY,
    cluster TEXT NOT NULL,
    namespace TEXT NOT NULL,
    release TEXT NOT NULL,
    body TEXT NOT NULL,
    hash TEXT NOT NULL
);

CREATE INDEX audit_release ON audit (release, namespace, seq);

-- The deployed revision of a release, among any number of superseded ones.
CREATE INDEX revisions_status ON revisions (release_id, status, number);

CREATE INDEX journal_open ON journal (release_id, ok);
