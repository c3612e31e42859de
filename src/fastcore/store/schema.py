"""The tables and how they came to be: migrations by number, each applied once, in one transaction with its number.

A migration that was released is never edited; what changes is a new one. Every index begins with workspace and kind,
as every query does, and goes on with an order, so that a page is read from the place where it begins.
"""

__all__ = ["INDEXES", "SQLITE"]

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
    "CREATE TABLE fastcore_meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "INSERT INTO fastcore_meta VALUES ('version', 0), ('pruned', 0), ('secret', hex(randomblob(32)))",
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

SQLITE = (_SQLITE_1,)
