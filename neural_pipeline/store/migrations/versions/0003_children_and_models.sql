alter table lightfast_workspace_neural_observations add column classification_note varchar(255);
alter table lightfast_workspace_observation_clusters add column centroid_model varchar(100);
alter table lightfast_workspace_observation_clusters add column summarized_by varchar(100);
alter table lightfast_workspace_actor_profiles add column merged_into varchar(191);

-- What made the centroids so far: one embedder for all.
update lightfast_workspace_observation_clusters c set centroid_model = v.model
from lightfast_workspace_neural_observations o
join observation_vectors v on v.observation_id = o.id and v.view = 'content'
where o.cluster_id = c.id;

-- Search compares the summary: only its rows are looked for, and moved into the indexed part.
create index observation_vector_tail_idx on observation_vectors (workspace_id, model) where view = 'summary';
alter table observation_vectors set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);

-- What people type into a search, in any case.
create index entity_workspace_lower_key_idx on lightfast_workspace_neural_entities (workspace_id, lower(key));
create index obs_actor_name_idx
  on lightfast_workspace_neural_observations (workspace_id, lower(actor ->> 'name'), occurred_at);
create index org_actor_identity_login_idx on lightfast_org_actor_identities (clerk_org_id, lower(source_username));
create index actor_profile_name_idx on lightfast_workspace_actor_profiles (workspace_id, lower(display_name));

-- The indexed part of the vectors, filled in bulk: an index for approximate search per model and view is made with it.
create table indexed_vectors (
  observation_id bigint not null references lightfast_workspace_neural_observations (id) on delete cascade,
  view varchar(20) not null,
  workspace_id varchar(191) not null,
  model varchar(100) not null,
  embedding vector not null,
  primary key (observation_id, view)
);
create index indexed_vector_workspace_idx on indexed_vectors (workspace_id, model, view);

-- One row per call of a model. A call reserves its tokens before it is made, so that no budget is overdrawn; a row
-- without an outcome is a call whose worker died: its reservation counts, as nobody knows what it used.
create table model_calls (
  id bigint generated always as identity primary key,
  day date not null,
  workspace_id varchar(191) not null,
  event_id bigint,
  function_id varchar(191) not null,
  step varchar(100) not null,
  model varchar(100) not null,
  reserved_tokens integer not null,
  input_tokens integer,
  output_tokens integer,
  duration_ms integer,
  outcome varchar(50),
  reason varchar(1000),
  called_at timestamptz not null default clock_timestamp()
);
create index model_call_day_idx on model_calls (day);
create index model_call_called_idx on model_calls (called_at, id);
create index model_call_event_idx on model_calls (event_id) where event_id is not null;

-- What the calls of a day (UTC) have used or hold reserved: the sum of model_calls, so that a reservation need not add
-- up the day, and the row that reservations wait for one another at.
create table model_days (
  day date primary key,
  tokens bigint not null
);

-- What a model has answered for an event, kept before the event is stored: a lost run does not pay twice.
create table model_answers (
  event_id bigint not null references incoming_events (id) on delete cascade,
  step varchar(100) not null,
  model varchar(100) not null,
  question_hash varchar(64) not null,
  answer jsonb not null,
  input_tokens integer not null,
  output_tokens integer not null,
  answered_at timestamptz not null default clock_timestamp(),
  primary key (event_id, step)
);

-- Children were asked for with every observation and waited for workflows that did not exist yet: per workspace,
-- function and key the newest stands for all, from now on debounced (contracts/debounce.py makes the same keys).
-- Replays stay as they are: each is somebody's wish.
create temporary table folded on commit drop as
with waiting as (
  select e.id, e.workspace_id, e.function_id, e.received_at, subject.name, e.payload ->> subject.name as value
  from incoming_events e
  join (values ('neural.profile.update', 'actorId'), ('neural.cluster.summary', 'clusterId'),
    ('neural.llm-entity-extraction', 'observationId')) subject (function_id, name) using (function_id)
  where e.source = 'neural' and e.batch_id is null and e.outcome is null and e.debounce_key is null
    and e.payload ->> subject.name is not null
), keyed as (
  select *, case when length(value) <= 191 then value
    else left(value, 127) || encode(sha256(convert_to(value, 'UTF8')), 'hex') end as key
  from waiting
)
select id, key, first_value(id) over (partition by workspace_id, function_id, key
    order by received_at desc, id desc) as newest,
  jsonb_build_object('inngestFunctionId', function_id, 'status', 'skipped', 'reason', 'superseded', name, value)
    as output,
  clock_timestamp() as moment
from keyed;
analyze folded;

create index incoming_event_superseded_idx on incoming_events (superseded_by) where superseded_by is not null;

update incoming_events e
set debounce_key = f.key, due_at = f.moment, due_by = f.moment
from folded f where e.id = f.id and f.id = f.newest;

update incoming_events e
set debounce_key = f.key, outcome = 'superseded', outcome_at = f.moment, superseded_by = f.newest, output = f.output
from folded f where e.id = f.id and f.id <> f.newest;

update lightfast_workspace_workflow_runs r
set status = 'completed', output = f.output, superseded_by = s.id, updated_at = f.moment, duration_ms = '0',
  completed_at = greatest(f.moment, r.created_at)
from folded f left join lightfast_workspace_workflow_runs s on s.event_id = f.newest
where r.event_id = f.id and f.id <> f.newest and r.status in ('queued', 'running');
