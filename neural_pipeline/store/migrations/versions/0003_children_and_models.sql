alter table lightfast_workspace_neural_observations add column classification_note varchar(255);
alter table lightfast_workspace_observation_clusters add column centroid_model varchar(100);
alter table lightfast_workspace_observation_clusters add column summarized_by varchar(100);
alter table lightfast_workspace_actor_profiles add column merged_into varchar(191);

-- What made the centroids so far: one embedder for all.
update lightfast_workspace_observation_clusters c set centroid_model = v.model
from lightfast_workspace_neural_observations o
join observation_vectors v on v.observation_id = o.id and v.view = 'content'
where o.cluster_id = c.id;

create index observation_vector_workspace_idx on observation_vectors (workspace_id, model, view);

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
create index model_call_event_idx on model_calls (event_id) where event_id is not null;

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
