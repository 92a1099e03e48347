SET LOCAL search_path TO {schema}, pg_temp;

-- When word was left. What stands here already has no time.
ALTER TABLE reads ADD COLUMN at timestamptz;
ALTER TABLE reads ALTER at SET DEFAULT clock_timestamp();

-- What stands here already is taken up whatever it says.
ALTER TABLE reads ADD CONSTRAINT of_a_read_or_of_lines
    CHECK (num_nulls(first, count) = 2
           OR (num_nulls(first, count) = 0 AND first >= 0 AND count > 0)) NOT VALID;

-- Whoever may leave word does not choose its time, and word that lines were removed comes from
-- who may remove some.
CREATE FUNCTION word_of_who_may() RETURNS trigger LANGUAGE plpgsql
    SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    NEW.at := clock_timestamp();
    IF num_nulls(NEW.first, NEW.count) < 2
        AND NOT has_table_privilege('{schema}.events', 'DELETE')
    THEN
        RAISE EXCEPTION 'only who may remove lines leaves word of it'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER word_of_who_may BEFORE INSERT ON reads
    FOR EACH ROW EXECUTE FUNCTION word_of_who_may();
