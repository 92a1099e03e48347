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

-- Counted up first thing by every change, and locked by it until its commit.
CREATE TABLE feed (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position bigint NOT NULL
);
INSERT INTO feed (position) VALUES (0);

-- COLLATE "C": ids are ordered, and told apart, by their bytes in every database.
CREATE TABLE companies (
    id      text COLLATE "C" PRIMARY KEY,
    status  text NOT NULL CHECK (status IN ('active', 'suspended')),
    version bigint NOT NULL CHECK (version > 0),
    changed bigint NOT NULL
);
CREATE INDEX companies_by_change ON companies (changed);

CREATE TABLE keys (
    id      text COLLATE "C" PRIMARY KEY,
    prefix  text COLLATE "C" NOT NULL UNIQUE,
    company text COLLATE "C" NOT NULL REFERENCES companies (id),
    version bigint NOT NULL CHECK (version > 0),
    record  text NOT NULL,
    changed bigint NOT NULL
);
CREATE INDEX keys_by_company ON keys (company, id);
CREATE INDEX keys_by_change ON keys (changed);

CREATE TABLE outbox (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id       text COLLATE "C" NOT NULL UNIQUE,
    event    text NOT NULL
);

-- A key at its end is evidence, and a key never changes its owner or its name: not even for
-- somebody with a console.
CREATE FUNCTION keep_evidence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'records of % are never deleted, and never change their names', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER keep_keys BEFORE DELETE OR TRUNCATE ON keys
    FOR EACH STATEMENT EXECUTE FUNCTION keep_evidence();
CREATE TRIGGER keep_companies BEFORE DELETE OR TRUNCATE ON companies
    FOR EACH STATEMENT EXECUTE FUNCTION keep_evidence();
CREATE TRIGGER keep_key_names BEFORE UPDATE ON keys FOR EACH ROW
    WHEN (OLD.id <> NEW.id OR OLD.prefix <> NEW.prefix OR OLD.company <> NEW.company)
    EXECUTE FUNCTION keep_evidence();
CREATE TRIGGER keep_company_names BEFORE UPDATE ON companies FOR EACH ROW
    WHEN (OLD.id <> NEW.id)
    EXECUTE FUNCTION keep_evidence();
