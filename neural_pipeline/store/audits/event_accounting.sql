-- Every record held against another one: `unexplained` counts what one has and the other lacks. Always 0.
with counted as (
  select coalesce(sum(accepted), 0) as accepted, coalesce(sum(duplicate), 0) as duplicate,
    coalesce(sum(unsupported), 0) as unsupported, coalesce(sum(invalid), 0) as invalid
  from intakes
), handed_in (disposition, rows) as (
  select d.* from counted c cross join lateral (values ('accepted', c.accepted), ('duplicate', c.duplicate),
    ('unsupported', c.unsupported), ('invalid', c.invalid)) d (disposition, rows)
), kept as (
  select disposition, count(*) as rows from raw_payloads group by disposition
), removed as (
  select split_part(record, '/', 2) as disposition, sum(removed) as rows from pruned_counters
  where record like 'raw_payloads/%' group by 1
)
select 'payloads handed in are kept, each with its disposition' as rule, sum(h.rows)::bigint as expected,
  sum(coalesce(k.rows, 0) + coalesce(r.rows, 0))::bigint as found,
  sum(abs(h.rows - coalesce(k.rows, 0) - coalesce(r.rows, 0)))::bigint as unexplained
from handed_in h left join kept k using (disposition) left join removed r using (disposition)
union all
select 'an accepted payload has its execution', count(*), count(e.id), count(*) filter (where e.id is null)
from raw_payloads p
left join incoming_events e on e.raw_payload_id = p.id
where p.disposition = 'accepted' and exists (select from lightfast_org_workspaces w where w.id = p.workspace_id)
union all
select 'an execution from a payload has that payload', count(*), count(p.id), count(*) filter (where p.id is null)
from incoming_events e
left join raw_payloads p on p.id = e.raw_payload_id and p.disposition = 'accepted'
where e.raw_payload_id is not null
union all
select 'a child execution has its parent', count(*), count(p.id), count(*) filter (where p.id is null)
from incoming_events e
left join incoming_events p on p.id = e.parent_event_id
where e.parent_event_id is not null
union all
select 'an execution has its workflow run', count(*), count(r.id), count(*) filter (where r.id is null)
from incoming_events e
left join lightfast_workspace_workflow_runs r on r.event_id = e.id
union all
select 'a workflow run has its execution', count(*), count(e.id), count(*) filter (where e.id is null)
from lightfast_workspace_workflow_runs r
left join incoming_events e on e.id = r.event_id
where r.event_id is not null
union all
select 'an unfinished execution on a batch has that batch, and it is open', count(*), count(b.id),
  count(*) filter (where b.id is null)
from incoming_events e
left join event_batches b on b.id = e.batch_id and b.state <> 'closed'
where e.batch_id is not null and e.outcome is null
union all
select 'an open batch holds the workspaces of its unfinished executions', count(*), count(h.batch_id),
  count(*) filter (where h.batch_id is null)
from (
  select distinct e.batch_id, e.workspace_id from incoming_events e
  join event_batches b on b.id = e.batch_id and b.state <> 'closed'
  where e.outcome is null
) e
left join batch_workspaces h on h.batch_id = e.batch_id and h.workspace_id = e.workspace_id and h.closed_at is null
union all
select 'a workflow run has ended as its execution has, or is still to be recorded', count(*),
  count(*) filter (where r.status = case e.outcome when 'superseded' then 'completed' else e.outcome end
    or r.status in ('queued', 'running') and b.state <> 'closed'),
  count(*) filter (where r.status is distinct from case e.outcome when 'superseded' then 'completed' else e.outcome end
    and not coalesce(r.status in ('queued', 'running') and b.state <> 'closed', false))
from incoming_events e
join lightfast_workspace_workflow_runs r on r.event_id = e.id
left join event_batches b on b.id = e.batch_id
where e.outcome is not null or r.status not in ('queued', 'running')
union all
select 'a superseded execution has the newer one that stands for it', count(*), count(s.id),
  count(*) filter (where s.id is null or r.superseded_by is distinct from s.id)
from incoming_events e
left join lightfast_workspace_workflow_runs s on s.event_id = e.superseded_by
left join lightfast_workspace_workflow_runs r on r.event_id = e.id
where e.outcome = 'superseded'
union all
select 'a running workflow run is worked on by a running batch', count(*), count(b.id),
  count(*) filter (where b.id is null or e.begun_at is null)
from lightfast_workspace_workflow_runs r
join incoming_events e on e.id = r.event_id
left join event_batches b on b.id = e.batch_id and b.state = 'running'
where r.status = 'running'
union all
select 'a captured execution has asked for a summary of its cluster', count(*), count(c.id),
  count(*) filter (where c.id is null)
from incoming_events e
left join incoming_events c on c.parent_event_id = e.id and c.function_id = 'neural.cluster.summary'
where e.function_id = 'neural.observation.capture' and e.output ->> 'status' = 'success'
union all
select 'a captured execution has its observation, or another has replaced it', count(*),
  count(*) filter (where (o.id is null) <> (x.event_id is null)),
  count(*) filter (where (o.id is null) = (x.event_id is null))
from incoming_events e
left join lightfast_workspace_neural_observations o on o.event_id = e.id
left join replaced_observations x on x.event_id = e.id
where e.function_id = 'neural.observation.capture' and e.output ->> 'status' = 'success'
union all
select 'an observation has the execution that captured it', count(*), count(e.id), count(*) filter (where e.id is null)
from lightfast_workspace_neural_observations o
left join incoming_events e on e.id = o.event_id and e.output ->> 'status' = 'success'
where o.event_id is not null
