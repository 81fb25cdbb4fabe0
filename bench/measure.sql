-- What measures queries as roles send them, for the parts "rls" and "page".

-- Be a role, with the settings that it was given by ALTER ROLE, until the transaction
-- ends.
CREATE FUNCTION become(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config(split_part(setting, '=', 1), split_part(setting, '=', 2), true)
	FROM pg_roles, unnest(rolconfig) setting WHERE rolname = name;
	PERFORM set_config('role', name, true);
END $$;

-- Milliseconds that each of the queries takes, in turn, for so many seconds, but
-- five turns at least; medians.  The contenders are roles and their queries: role,
-- query, role, query.  They are planned each time, or once for all ("kept").  A turn
-- is a transaction of its own, and executes the query until 3 ms are over, or :times
-- times: what disturbs it then disturbs few of many turns.  Just before comes one
-- execution that does not count, since the turn before may have driven from the
-- processor's caches what this one needs.
CREATE PROCEDURE measure_as(INOUT result float8[], seconds float8, times int, kept boolean, VARIADIC contenders text[])
LANGUAGE plpgsql AS $$
DECLARE
	n int = cardinality(contenders) / 2;
	queries text[];
	query text;
	finish timestamptz = clock_timestamp() + seconds * interval '1 s';
	started timestamptz;
	rounds int = 0;
	ms float8;
	count int;
	took float8[];
BEGIN
	DEALLOCATE ALL;
	FOR i IN 1 .. n LOOP
		queries[i] = contenders[2 * i];
		IF kept THEN
			PERFORM become(contenders[2 * i - 1]);
			EXECUTE format('PREPARE kept_%s AS %s', i, queries[i]);
			queries[i] = format('EXECUTE kept_%s', i);
			COMMIT;
		END IF;
	END LOOP;
	COMMIT;
	WHILE rounds < 5 OR clock_timestamp() < finish LOOP
		rounds = rounds + 1;
		FOR i IN 1 .. n LOOP
			query = queries[i];
			FOR timed IN 0 .. 1 LOOP
				PERFORM become(contenders[2 * i - 1]);
				count = 0;
				started = clock_timestamp();
				LOOP
					EXECUTE query;
					count = count + 1;
					ms = extract(epoch FROM clock_timestamp() - started) * 1000;
					EXIT WHEN timed = 0 OR count = times OR times IS NULL AND ms > 3;
				END LOOP;
				ROLLBACK;
			END LOOP;
			took = took || ms / count;
		END LOOP;
	END LOOP;
	SELECT array_agg(median ORDER BY contender) INTO result
	FROM (SELECT (turn - 1) % n AS contender, percentile_cont(0.5) WITHIN GROUP (ORDER BY t.ms) AS median
		FROM unnest(took) WITH ORDINALITY t (ms, turn) GROUP BY 1) t;
END $$;

-- The plan of a query under a role, executed, with what it read.
CREATE FUNCTION explain_as(role text, query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM become(role);
	RETURN QUERY EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) ' || query;
END $$;

-- The number of blocks that a query looks at under a role when it is executed:
-- by the plan that the planner chooses, or by the best of those that it makes
-- when some ways are closed to it.
CREATE FUNCTION blocks_as(role text, best boolean, query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	ways text[] = '{enable_seqscan,enable_indexscan,enable_bitmapscan,enable_sort}';
	plan json;
	fewest bigint;
BEGIN
	PERFORM become(role);
	EXECUTE query;
	FOR closed IN 0 .. CASE WHEN best THEN 15 ELSE 0 END LOOP
		FOR i IN 1 .. 4 LOOP
			PERFORM set_config(ways[i], CASE WHEN closed & (1 << i - 1) > 0 THEN 'off' ELSE 'on' END, true);
		END LOOP;
		EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || query INTO plan;
		fewest = least(fewest, (plan->0->'Plan'->>'Shared Hit Blocks')::bigint + (plan->0->'Plan'->>'Shared Read Blocks')::bigint);
	END LOOP;
	FOR i IN 1 .. 4 LOOP
		PERFORM set_config(ways[i], 'on', true);
	END LOOP;
	RETURN fewest;
END $$;
