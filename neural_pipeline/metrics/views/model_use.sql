-- Calls of models, by day (UTC), function, step and model: how they ended and what they took.
select day, function_id, step, model, sum(calls)::bigint as calls,
  coalesce(sum(calls) filter (where outcome = 'answered'), 0)::bigint as answered,
  coalesce(sum(calls) filter (where outcome = 'rate_limited'), 0)::bigint as rate_limited,
  coalesce(sum(calls) filter (where outcome = 'unavailable'), 0)::bigint as unavailable,
  coalesce(sum(calls) filter (where outcome = 'timed_out'), 0)::bigint as timed_out,
  coalesce(sum(calls) filter (where outcome = 'cut_off'), 0)::bigint as cut_off,
  coalesce(sum(calls) filter (where outcome = 'invalid_answer'), 0)::bigint as invalid_answer,
  coalesce(sum(calls) filter (where outcome = 'refused'), 0)::bigint as refused,
  coalesce(sum(calls) filter (where outcome = 'unauthorized'), 0)::bigint as unauthorized,
  coalesce(sum(calls) filter (where outcome not in ('answered', 'rate_limited', 'unavailable', 'timed_out', 'cut_off',
    'invalid_answer', 'refused', 'unauthorized')), 0)::bigint as error,
  coalesce(sum(calls) filter (where outcome is null), 0)::bigint as unfinished,
  sum(input_tokens)::bigint as input_tokens, sum(output_tokens)::bigint as output_tokens,
  sum(reserved_tokens)::bigint as reserved_tokens, round(sum(total_ms) / nullif(sum(timed), 0), 1) as mean_ms
from (
  select day, function_id, step, model, outcome, count(*) as calls, count(duration_ms) as timed,
    coalesce(sum(input_tokens), 0) as input_tokens, coalesce(sum(output_tokens), 0) as output_tokens,
    coalesce(sum(reserved_tokens) filter (where input_tokens is null), 0) as reserved_tokens,
    sum(duration_ms) as total_ms
  from model_calls group by 1, 2, 3, 4, 5
) ended
group by 1, 2, 3, 4
