-- Documents that synchronisations indexed, by day (UTC) of their end.
select day, coalesce(dimensions ->> 'sourceType', 'unknown') as source,
  coalesce(dimensions ->> 'syncMode', 'unknown') as sync_mode,
  sum(metrics)::bigint as synchronisations, sum(total)::bigint as documents
from metric_totals where type = 'documents_indexed' group by 1, 2, 3
