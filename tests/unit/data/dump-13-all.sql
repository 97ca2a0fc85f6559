--
-- PostgreSQL database cluster dump
--

SET default_transaction_read_only = off;

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

--
-- Roles
--

CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN REPLICATION BYPASSRLS;






--
-- Databases
--

--
-- Database "template1" dump
--

\connect template1

--
-- PostgreSQL database dump
--

-- Dumped from database version 13.16 (Debian 13.16-0+deb11u1)
-- Dumped by pg_dump version 13.16 (Debian 13.16-0+deb11u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- PostgreSQL database dump complete
--

--
-- Database "postgres" dump
--

\connect postgres

--
-- PostgreSQL database dump
--

-- Dumped from database version 13.16 (Debian 13.16-0+deb11u1)
-- Dumped by pg_dump version 13.16 (Debian 13.16-0+deb11u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- PostgreSQL database dump complete
--

--
-- Database "small" dump
--

--
-- PostgreSQL database dump
--

-- Dumped from database version 13.16 (Debian 13.16-0+deb11u1)
-- Dumped by pg_dump version 13.16 (Debian 13.16-0+deb11u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: small; Type: DATABASE; Schema: -; Owner: postgres
--

CREATE DATABASE small WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE = 'C';


ALTER DATABASE small OWNER TO postgres;

\connect small

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: odd s"c/h; Type: SCHEMA; Schema: -; Owner: postgres
--

CREATE SCHEMA "odd s""c/h";


ALTER SCHEMA "odd s""c/h" OWNER TO postgres;

--
-- Name: f(); Type: FUNCTION; Schema: public; Owner: postgres
--

CREATE FUNCTION public.f() RETURNS text
    LANGUAGE sql
    AS $$SELECT '
COPY public.trap (a) FROM stdin;
'::text$$;


ALTER FUNCTION public.f() OWNER TO postgres;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: t.ä; Type: TABLE; Schema: odd s"c/h; Owner: postgres
--

CREATE TABLE "odd s""c/h"."t.ä" (
    a text,
    b integer DEFAULT 5
);


ALTER TABLE "odd s""c/h"."t.ä" OWNER TO postgres;

--
-- Name: empty; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.empty (
    x integer
);


ALTER TABLE public.empty OWNER TO postgres;

--
-- Name: numbers; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.numbers (
    i integer,
    x integer,
    m text
);


ALTER TABLE public.numbers OWNER TO postgres;

--
-- Name: 70001; Type: BLOB; Schema: -; Owner: postgres
--

SELECT pg_catalog.lo_create('70001');


ALTER LARGE OBJECT 70001 OWNER TO postgres;

--
-- Name: 70002; Type: BLOB; Schema: -; Owner: postgres
--

SELECT pg_catalog.lo_create('70002');


ALTER LARGE OBJECT 70002 OWNER TO postgres;

--
-- Name: 70003; Type: BLOB; Schema: -; Owner: postgres
--

SELECT pg_catalog.lo_create('70003');


ALTER LARGE OBJECT 70003 OWNER TO postgres;

--
-- Data for Name: t.ä; Type: TABLE DATA; Schema: odd s"c/h; Owner: postgres
--

COPY "odd s""c/h"."t.ä" (a, b) FROM stdin;
tab\t nl\n bs\\ \\. ü	1
\N	\N
	3
\.


--
-- Data for Name: empty; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.empty (x) FROM stdin;
\.


--
-- Data for Name: numbers; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.numbers (i, x, m) FROM stdin;
1	7	c4ca4238a0b923820dcc509a6f75849b
2	14	c81e728d9d4c2f636f067f89cc14862c
3	21	eccbc87e4b5ce2fe28308fd9f2a7baf3
4	28	a87ff679a2f3e71d9181a67b7542122c
5	35	e4da3b7fbbce2345d7772b0674a318d5
6	42	1679091c5a880faf6fb5e6087eb1b2dc
7	49	8f14e45fceea167a5a36dedd4bea2543
8	56	c9f0f895fb98ab9159f51fd0297e236d
9	63	45c48cce2e2d7fbdea1afc51c7c6ad26
10	70	d3d9446802a44259755d38e6d163e820
11	77	6512bd43d9caa6e02c990b0a82652dca
12	84	c20ad4d76fe97759aa27a0c99bff6710
13	91	c51ce410c124a10e0db5e4b97fc2af39
14	98	aab3238922bcc25a6f606eb525ffdc56
15	105	9bf31c7ff062936a96d3c8bd1f8f2ff3
16	112	c74d97b01eae257e44aa9d5bade97baf
17	119	70efdf2ec9b086079795c442636b55fb
18	126	6f4922f45568161a8cdf4ad2299f6d23
19	133	1f0e3dad99908345f7439f8ffabdffc4
20	140	cfcd208495d565ef66e7dff9f98764da
21	147	c4ca4238a0b923820dcc509a6f75849b
22	154	c81e728d9d4c2f636f067f89cc14862c
23	161	eccbc87e4b5ce2fe28308fd9f2a7baf3
24	168	a87ff679a2f3e71d9181a67b7542122c
25	175	e4da3b7fbbce2345d7772b0674a318d5
26	182	1679091c5a880faf6fb5e6087eb1b2dc
27	189	8f14e45fceea167a5a36dedd4bea2543
28	196	c9f0f895fb98ab9159f51fd0297e236d
29	203	45c48cce2e2d7fbdea1afc51c7c6ad26
30	210	d3d9446802a44259755d38e6d163e820
31	217	6512bd43d9caa6e02c990b0a82652dca
32	224	c20ad4d76fe97759aa27a0c99bff6710
33	231	c51ce410c124a10e0db5e4b97fc2af39
34	238	aab3238922bcc25a6f606eb525ffdc56
35	245	9bf31c7ff062936a96d3c8bd1f8f2ff3
36	252	c74d97b01eae257e44aa9d5bade97baf
37	259	70efdf2ec9b086079795c442636b55fb
38	266	6f4922f45568161a8cdf4ad2299f6d23
39	273	1f0e3dad99908345f7439f8ffabdffc4
40	280	cfcd208495d565ef66e7dff9f98764da
41	287	c4ca4238a0b923820dcc509a6f75849b
42	294	c81e728d9d4c2f636f067f89cc14862c
43	301	eccbc87e4b5ce2fe28308fd9f2a7baf3
44	308	a87ff679a2f3e71d9181a67b7542122c
45	315	e4da3b7fbbce2345d7772b0674a318d5
46	322	1679091c5a880faf6fb5e6087eb1b2dc
47	329	8f14e45fceea167a5a36dedd4bea2543
48	336	c9f0f895fb98ab9159f51fd0297e236d
49	343	45c48cce2e2d7fbdea1afc51c7c6ad26
50	350	d3d9446802a44259755d38e6d163e820
51	357	6512bd43d9caa6e02c990b0a82652dca
52	364	c20ad4d76fe97759aa27a0c99bff6710
53	371	c51ce410c124a10e0db5e4b97fc2af39
54	378	aab3238922bcc25a6f606eb525ffdc56
55	385	9bf31c7ff062936a96d3c8bd1f8f2ff3
56	392	c74d97b01eae257e44aa9d5bade97baf
57	399	70efdf2ec9b086079795c442636b55fb
58	406	6f4922f45568161a8cdf4ad2299f6d23
59	413	1f0e3dad99908345f7439f8ffabdffc4
60	420	cfcd208495d565ef66e7dff9f98764da
\.


--
-- Data for Name: BLOBS; Type: BLOBS; Schema: -; Owner: -
--

BEGIN;

SELECT pg_catalog.lo_open('70001', 131072);
SELECT pg_catalog.lowrite(0, '\x00010203ff');
SELECT pg_catalog.lo_close(0);

SELECT pg_catalog.lo_open('70002', 131072);
SELECT pg_catalog.lowrite(0, '\x626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420626c6f62207465787420');
SELECT pg_catalog.lo_close(0);

SELECT pg_catalog.lo_open('70003', 131072);
SELECT pg_catalog.lo_close(0);

COMMIT;

--
-- PostgreSQL database dump complete
--

--
-- PostgreSQL database cluster dump complete
--

