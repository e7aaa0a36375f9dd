-- Entities found in texts, by day (UTC) and by whose texts (rules at capture) or who read them (a model, later).
select day, coalesce(dimensions ->> 'source', 'unknown') as source, sum(metrics)::bigint as texts, sum(total)::bigint as entities,
  round(sum(total) / sum(metrics), 2) as entities_per_text
from metric_totals where type = 'entities_extracted' group by 1, 2
