create extension if not exists vector;

-- 21 random characters of [A-Za-z0-9_-], the shape of a nanoid.
create function neural_nanoid() returns text language sql volatile as $$
  select substr(translate(encode(decode(md5(gen_random_uuid()::text), 'hex'), 'base64'), '+/=', '-_'), 1, 21)
$$;

-- completed / (completed + failed), in percent: the one definition of a success rate. Null where nothing ended.
create function neural_success_rate(completed numeric, failed numeric) returns numeric
language sql immutable parallel safe as $$
  select round(100 * completed / nullif(completed + failed, 0), 2)
$$;

-- The logarithmic bucket of a duration: ceil(log_g(ms)) with g = 1.01 / 0.99, so that the middle of a bucket is within
-- 1 % of all that is in it (DDSketch: Masson, Rim and Lee, VLDB 2019). 0 ms has a bucket of its own, -1.
create function neural_duration_bucket(ms bigint) returns smallint language sql immutable parallel safe as $$
  select case when ms <= 0 then -1 else ceil(ln(ms::float8) / ln(1.01::float8 / 0.99) - 1e-9) end::smallint
$$;
create function neural_bucket_ms(bucket smallint) returns bigint language sql immutable parallel safe as $$
  select case when bucket < 0 then 0 else round((2 * (1.01::float8 / 0.99) ^ bucket / (1.01::float8 / 0.99 + 1))::numeric)
  end::bigint
$$;

-- The three durations of an execution: waiting for its turn, being worked on, and both since it was accepted.
-- One that never began has no run time and no queue wait. What is no number counts as not there: a single odd row must
-- not stop all others from being added up.
create function neural_durations(run_ms integer, tags jsonb)
returns table (measure text, milliseconds bigint) language sql immutable parallel safe as $$
  select * from (values
    ('run', case when tags -> 'begun' is distinct from 'false' then run_ms::bigint end),
    ('queue', case jsonb_typeof(tags -> 'queueWaitMs') when 'number'
      then least(floor((tags -> 'queueWaitMs')::numeric), 2147483647)::bigint end),
    ('total', case jsonb_typeof(tags -> 'totalMs') when 'number'
      then least(floor((tags -> 'totalMs')::numeric), 2147483647)::bigint end)
  ) as measures (measure, milliseconds) where milliseconds is not null
$$;

-- Percentiles of a histogram by nearest rank, as buckets: the first one by which so many of all are reached. Buckets may
-- come in any order, and more than once.
create function neural_percentiles(buckets smallint[], counts bigint[])
returns table (runs bigint, p50 smallint, p95 smallint, p99 smallint, longest smallint)
language sql immutable parallel safe as $$
  select max(reached)::bigint, min(bucket) filter (where reached >= 0.50 * of_all),
    min(bucket) filter (where reached >= 0.95 * of_all), min(bucket) filter (where reached >= 0.99 * of_all), max(bucket)
  from (
    select bucket, sum(number) over (order by bucket) as reached, sum(number) over () as of_all
    from unnest(buckets, counts) as counted (bucket, number)
  ) ranked
$$;

-- The lower end of the band of ten points that an affinity (0 to 100) lies in; 100 belongs to the last.
create function neural_affinity_band(score jsonb) returns integer language sql immutable parallel safe as $$
  select case when jsonb_typeof(score) = 'number' then least(floor(score::numeric / 10) * 10, 90)::integer end
$$;
