"""The tables and how they came to be: migrations by number, each applied once, in one transaction with its number.

A migration that was released is never edited; what changes is a new one. Every index begins with workspace and kind,
as every query does, and goes on with an order, so that a page is read from the place where it begins.
"""

__all__ = ["INDEXES", "POSTGRES", "SQLITE"]

INDEXES = {
    "fastcore_resources_created": "workspace, kind, created_at, id",
    "fastcore_resources_updated": "workspace, kind, updated_at, id",
    "fastcore_resources_name": "workspace, kind, name, id",
    "fastcore_resources_version": "workspace, kind, version, id",
    "fastcore_resources_namespace": "workspace, kind, namespace, created_at, id",
    "fastcore_resources_phase": "workspace, kind, phase, created_at, id",
}
_INDEXES = tuple(f"CREATE INDEX {name} ON fastcore_resources ({columns})" for name, columns in INDEXES.items())

_SQLITE_1 = (
    "CREATE TABLE fastcore_meta (name TEXT PRIMARY KEY, number INTEGER, text TEXT) WITHOUT ROWID",
    "INSERT INTO fastcore_meta VALUES ('version', 0, ''), ('pruned', 0, ''), ('secret', 0, hex(randomblob(32)))",
    """CREATE TABLE fastcore_resources (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        version INTEGER NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, phase TEXT,
        spec TEXT NOT NULL, status TEXT NOT NULL, metadata TEXT NOT NULL,
        UNIQUE (workspace, kind, namespace, name))""",
    """CREATE TABLE fastcore_deletions (
        workspace TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        version INTEGER NOT NULL, id INTEGER NOT NULL, deleted_at INTEGER NOT NULL,
        PRIMARY KEY (workspace, kind, namespace, name)) WITHOUT ROWID""",
    "CREATE INDEX fastcore_deletions_version ON fastcore_deletions (workspace, kind, version, id)",
    "CREATE INDEX fastcore_deletions_age ON fastcore_deletions (deleted_at)",
    *_INDEXES,
)

# Texts compare by code point, as in SQLite: an order that no update of the system's locales can change under an index.
_POSTGRES_1 = (
    "CREATE TABLE fastcore_meta (name text PRIMARY KEY, number bigint NOT NULL, text text NOT NULL)",
    """INSERT INTO fastcore_meta VALUES ('schema', 0, ''), ('version', 0, ''), ('pruned', 0, ''),
        ('secret', 0, replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''))""",
    """CREATE TABLE fastcore_resources (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        workspace text COLLATE "C" NOT NULL, kind text COLLATE "C" NOT NULL,
        namespace text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL,
        version bigint NOT NULL, created_at bigint NOT NULL, updated_at bigint NOT NULL,
        phase text COLLATE "C", spec text NOT NULL, status text NOT NULL, metadata text NOT NULL,
        UNIQUE (workspace, kind, namespace, name))""",
    """CREATE TABLE fastcore_deletions (
        workspace text COLLATE "C" NOT NULL, kind text COLLATE "C" NOT NULL,
        namespace text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL,
        version bigint NOT NULL, id bigint NOT NULL, deleted_at bigint NOT NULL,
        PRIMARY KEY (workspace, kind, namespace, name))""",
    "CREATE INDEX fastcore_deletions_version ON fastcore_deletions (workspace, kind, version, id)",
    "CREATE INDEX fastcore_deletions_age ON fastcore_deletions (deleted_at)",
    *_INDEXES,
)

SQLITE = (_SQLITE_1,)
POSTGRES = (_POSTGRES_1,)
