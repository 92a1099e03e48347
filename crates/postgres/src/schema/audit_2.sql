SET LOCAL search_path TO {schema}, pg_temp;

-- What is left of lines whose time is over: the hash of each, 32 bytes, from line `first` on.
CREATE TABLE removed (
    first  bigint PRIMARY KEY CHECK (first >= 0),
    hashes bytea NOT NULL CHECK (octet_length(hashes) > 0 AND octet_length(hashes) % 32 = 0)
);
ALTER TABLE removed ALTER hashes SET STORAGE EXTERNAL;
CREATE TRIGGER keep_removed BEFORE UPDATE OR DELETE OR TRUNCATE ON removed
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
ALTER TABLE removed ENABLE ALWAYS TRIGGER keep_removed;

-- Word that lines were removed stands beside word of reads until it is in the log.
ALTER TABLE reads ADD COLUMN first bigint, ADD COLUMN count bigint;

DROP TRIGGER keep_events ON events;
CREATE TRIGGER keep_events BEFORE UPDATE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();

-- The oldest lines may go, once they are signed and where a row of `removed` has their hashes:
-- one statement deletes the lines of one such row.
CREATE FUNCTION hashes_stay() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first_gone bigint;
    last_gone  bigint;
    leaves     bytea;
BEGIN
    SELECT min(seq), max(seq), string_agg(sha256('\x00'::bytea || line), ''::bytea ORDER BY seq)
        INTO first_gone, last_gone, leaves FROM gone;
    IF first_gone IS NULL THEN
        RETURN NULL;
    END IF;
    IF NOT EXISTS (SELECT FROM {schema}.removed WHERE first = first_gone AND hashes = leaves)
        OR octet_length(leaves) <> 32 * (last_gone - first_gone + 1)
        OR last_gone >= (SELECT coalesce(max(size), 0) FROM {schema}.checkpoints)
        OR last_gone + 1 IS DISTINCT FROM (SELECT min(seq) FROM {schema}.events)
    THEN
        RAISE EXCEPTION
            'rows of events are only ever added; the oldest go when they are signed and their hashes stay'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER hashes_stay AFTER DELETE ON events REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION hashes_stay();
ALTER TABLE events ENABLE ALWAYS TRIGGER keep_events;
ALTER TABLE events ENABLE ALWAYS TRIGGER hashes_stay;
