-- The fifty clusters of each workspace with the latest observation: an index knows them, however many there are.
select c.workspace_id, c.id as cluster_id, c.topic_label as label, c.status, c.activity,
  c.observation_count as observations, c.first_observation_at, c.last_observation_at, c.summary is not null as has_summary,
  c.summary_generated_at
from lightfast_org_workspaces w
cross join lateral (
  select * from lightfast_workspace_observation_clusters c
  where c.workspace_id = w.id and c.last_observation_at is not null
  order by c.last_observation_at desc, c.id desc limit 50
) c
