ALTER TABLE parley_schema DROP COLUMN min_compatible;
