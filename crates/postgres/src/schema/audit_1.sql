-- IF NOT EXISTS would ask for the right to make schemas even where there is nothing to make.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = '{schema}') THEN
        CREATE SCHEMA {schema};
    END IF;
END
$$;
SET LOCAL search_path TO {schema}, pg_temp;

CREATE TABLE schema_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  integer NOT NULL
);
INSERT INTO schema_version (version) VALUES (0);

-- Which log this is: its name, and the key that its checkpoints are verified with.
CREATE TABLE log (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    origin   text NOT NULL,
    vkey     text NOT NULL
);

-- A line is the exact bytes that are hashed. Its event's id stands beside it to be found by.
CREATE TABLE events (
    seq  bigint PRIMARY KEY CHECK (seq >= 0),
    id   text COLLATE "C" NOT NULL,
    line bytea NOT NULL CHECK (octet_length(line) BETWEEN 1 AND 60000)
);
CREATE INDEX events_by_id ON events (id);

-- `edge` lets a signer go on without reading the lines again; it is checked against the note.
CREATE TABLE checkpoints (
    size bigint PRIMARY KEY CHECK (size >= 0),
    time text NOT NULL,
    note text NOT NULL,
    edge bytea NOT NULL
);

-- Word of reads that is not in the log yet.
CREATE TABLE reads (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor   text NOT NULL,
    purpose text NOT NULL
);

-- What was written stays as it was, not even for somebody with a console.
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER keep_log BEFORE UPDATE OR DELETE OR TRUNCATE ON log
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER keep_events BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER keep_checkpoints BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();

-- Each statement adds lines where the log ends, and leaves no hole.
CREATE FUNCTION no_holes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first_added bigint;
    last_added  bigint;
    how_many    bigint;
BEGIN
    SELECT min(seq), max(seq), count(*) INTO first_added, last_added, how_many FROM added;
    IF how_many = 0 THEN
        RETURN NULL;
    END IF;
    IF last_added - first_added + 1 <> how_many
        OR (first_added > 0
            AND NOT EXISTS (SELECT FROM {schema}.events WHERE seq = first_added - 1))
    THEN
        RAISE EXCEPTION 'events are added at the end of the log, without holes'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER no_holes AFTER INSERT ON events REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION no_holes();

-- Replication's own role skips ordinary triggers.
ALTER TABLE log ENABLE ALWAYS TRIGGER keep_log;
ALTER TABLE events ENABLE ALWAYS TRIGGER keep_events;
ALTER TABLE events ENABLE ALWAYS TRIGGER no_holes;
ALTER TABLE checkpoints ENABLE ALWAYS TRIGGER keep_checkpoints;
