SET LOCAL search_path TO {schema}, pg_temp;

-- Over the record itself, so that it can't say something else. The query for keys that are due asks in
-- the same words, or it would not be used.
CREATE INDEX keys_by_end ON keys (((record::json ->> 'expires_at') COLLATE "C"), id)
    WHERE record::json #>> '{status,state}' = 'active';
