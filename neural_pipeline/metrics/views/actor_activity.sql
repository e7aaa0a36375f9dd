-- The fifty actors of each workspace who were active last, merged profiles left out.
select p.workspace_id, p.actor_id, p.display_name as name, p.observation_count as observations, p.last_active_at
from lightfast_org_workspaces w
cross join lateral (
  select * from lightfast_workspace_actor_profiles p
  where p.workspace_id = w.id and p.last_active_at is not null and p.merged_into is null
  order by p.last_active_at desc, p.id desc limit 50
) p
