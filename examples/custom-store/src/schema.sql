-- What the platform had before it opened its API: other code reads and writes it every day.
CREATE TABLE IF NOT EXISTS partners (
    id      TEXT PRIMARY KEY,
    name    TEXT NOT NULL,
    blocked INTEGER NOT NULL DEFAULT 0 CHECK (blocked IN (0, 1)),
    -- Added for the keys (in your migration: ALTER TABLE … ADD COLUMN): counts changes of `blocked`.
    version INTEGER NOT NULL DEFAULT 1
) STRICT;

-- Code that blocks a partner and knows nothing of versions counts all the same. Without this, a
-- change that was decided on what it saw before would undo the block.
CREATE TRIGGER IF NOT EXISTS partners_count_changes
AFTER UPDATE OF blocked ON partners WHEN NEW.version = OLD.version BEGIN
    UPDATE partners SET version = OLD.version + 1 WHERE id = NEW.id;
END;

-- The record is kept as text; what is looked up or compared stands in columns of its own.
CREATE TABLE IF NOT EXISTS partner_keys (
    id      TEXT PRIMARY KEY,
    prefix  TEXT NOT NULL UNIQUE,
    partner TEXT NOT NULL REFERENCES partners (id),
    version INTEGER NOT NULL,
    record  TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS partner_keys_by_partner ON partner_keys (partner, id);
-- Active keys by their end: those whose time has come are looked for every few seconds.
CREATE INDEX IF NOT EXISTS partner_keys_by_end ON partner_keys (json_extract(record, '$.expires_at'), id)
    WHERE json_extract(record, '$.status.state') = 'active';

-- Events on their way into the audit log. AUTOINCREMENT: a number is never used twice, so that the
-- order of commits stays theirs when rows at the end were acknowledged and are gone.
CREATE TABLE IF NOT EXISTS key_events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT NOT NULL UNIQUE,
    event    TEXT NOT NULL
) STRICT;
