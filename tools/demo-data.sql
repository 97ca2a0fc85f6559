-- The company of tools/demo, about 450 MB: a shop, a library of documents and scans, and a metrics database in a
-- tablespace of its own. psql -f demo-data.sql -v tablespace=DIR
CREATE DATABASE shop;
CREATE DATABASE library;
CREATE TABLESPACE cold_storage LOCATION :'tablespace';
CREATE DATABASE metrics TABLESPACE cold_storage;

\connect shop
SELECT setseed(0.7);
CREATE TABLE countries (code text PRIMARY KEY, name text);
INSERT INTO countries VALUES ('FR', 'France'), ('GB', 'United Kingdom'), ('JP', 'Japan'), ('BR', 'Brazil'),
	('KE', 'Kenya');

CREATE TABLE customers AS
SELECT id,
	(ARRAY['Ann', 'Bo', 'Carla', 'Dmitri', 'Eve', 'Femi', 'Grete', 'Hiro', 'Ines', 'Jonas'])[1 + id % 10] || ' ' ||
	(ARRAY['Abe', 'Brown', 'Costa', 'Dubois', 'Endo', 'Fischer', 'Garcia'])[1 + id % 7] || ' ' || id AS name,
	'customer' || id || '@example.com' AS email,
	(ARRAY['FR', 'GB', 'JP', 'BR', 'KE'])[1 + (random() * 4)::int] AS country,
	date '2015-01-01' + (random() * 4000)::int AS since
FROM generate_series(1, 200000) id;
INSERT INTO customers VALUES (200001, 'Ada Lovelace', 'ada@example.com', 'GB', '2024-12-10');
ALTER TABLE customers ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX ON customers (email);

CREATE TABLE orders AS
SELECT id, 1 + (random() * 200000)::int AS customer, timestamptz '2024-01-01 00:00Z' + id * interval '83 s' AS placed,
	(random() * 50000)::int / 100.0 AS total, (ARRAY['paid', 'sent', 'returned'])[1 + (random() * 2)::int] AS state
FROM generate_series(1, 900000) id;
ALTER TABLE orders ADD PRIMARY KEY (id);
CREATE INDEX ON orders (customer);

CREATE TABLE order_lines AS
SELECT 1 + id / 2 AS "order", 1 + (random() * 5000)::int AS product, 1 + (random() * 4)::int AS pieces
FROM generate_series(1, 1800000) id;

\connect library
-- 15 to 90 KB each: these live in the TOAST table.
CREATE TABLE documents AS
SELECT id, 'Report ' || id AS title,
	(SELECT string_agg('Paragraph ' || n || ': ' || md5(id * n || 'a') || ' ' || md5(id * n || 'b'), E'\n')
		FROM generate_series(1, 200 + id % 1000) n) AS body
FROM generate_series(1, 2000) id;
ALTER TABLE documents ADD PRIMARY KEY (id);

-- 40 large objects of 1 MB that do not compress.
CREATE TABLE scans AS
SELECT id, 'scan-' || id || '.tif' AS file,
	lo_from_bytea(0, (SELECT string_agg(sha256((id || '/' || n)::bytea), '') FROM generate_series(1, 32768) n)) AS image
FROM generate_series(1, 40) id;

\connect metrics
SELECT setseed(0.7);
CREATE TABLE readings AS
SELECT timestamptz '2026-01-01 00:00Z' + id * interval '10 s' AS at, id % 50 AS sensor,
	20 + 5 * sin(id / 8640.0) + random() AS celsius
FROM generate_series(1, 1500000) id;
CREATE INDEX ON readings USING brin (at);
