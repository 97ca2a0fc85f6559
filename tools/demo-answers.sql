-- Everything in a database in a few rows: for each table its rows and a sum over all their values, and the same for
-- the large objects. Two servers with the same answers hold the same data.
SELECT format('SELECT %L AS "table", count(*) AS rows, sum(hashtext(t::text)::bigint) AS sum FROM %I t',
	relname, relname)
FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname \gexec
SELECT 'large objects' AS "table", count(*) AS rows, sum(hashtext(md5(lo_get(oid)))::bigint) AS sum
FROM pg_largeobject_metadata HAVING count(*) > 0;
