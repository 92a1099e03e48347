SET LOCAL search_path TO {schema}, pg_temp;

-- When and for what keys are used: apart from their records, for a use is no change of a key.
CREATE TABLE key_uses (
    key   text COLLATE "C" PRIMARY KEY REFERENCES keys (id),
    at    bigint NOT NULL,
    route text,
    count bigint NOT NULL
);
CREATE TABLE key_scopes (
    key   text COLLATE "C" NOT NULL REFERENCES keys (id),
    scope text COLLATE "C" NOT NULL,
    PRIMARY KEY (key, scope)
);
