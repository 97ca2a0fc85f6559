-- What tools/bench puts beside pgbench's tables: prose-like text (about 150 MB) and random numbers (about 120 MB).
-- The words come from a fixed vocabulary with a natural, very uneven frequency, so that the text compresses as
-- text does: not like noise, not like one repeated line. The seed is fixed: every run builds the same data.
SELECT setseed(0.42);

-- The vocabulary is one bytea of ten bytes a word: cutting a piece out of it costs the same wherever the piece
-- lies, which neither an array nor a UTF-8 string can say.
CREATE TABLE articles AS
WITH vocabulary AS (
	SELECT string_agg(rpad(substr(translate(md5(i::text), '0123456789', 'etaoinshrl'), 1, 2 + i % 8) || ' ',
			10, '~')::bytea, '' ORDER BY i) AS words
	FROM generate_series(1, 5000) i)
SELECT id,
	timestamptz '2026-01-01' + id * interval '71 s' AS written,
	-- "+ 0 * n": an aggregate over outer columns alone would belong to the outer query.
	(SELECT replace(convert_from(string_agg(substr(words, 1 + 10 * floor(5000 * random() ^ 3)::int + 0 * n, 10),
			''), 'UTF8'), '~', '')
		FROM generate_series(1, 60 + (id * 7919) % 380) n) AS body
FROM vocabulary, generate_series(1, 110000) id;
ALTER TABLE articles ADD PRIMARY KEY (id);
CREATE INDEX ON articles (written);

CREATE TABLE samples AS
SELECT id, random() AS x, random() * 1000 AS y, (random() * 2147483647)::int AS z
FROM generate_series(1, 1500000) id;
ALTER TABLE samples ADD PRIMARY KEY (id);
