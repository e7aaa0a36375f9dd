create extension if not exists vector;

-- 21 random characters of [A-Za-z0-9_-], the shape of a nanoid.
create function neural_nanoid() returns text language sql volatile as $$
  select substr(translate(encode(decode(md5(gen_random_uuid()::text), 'hex'), 'base64'), '+/=', '-_'), 1, 21)
$$;
