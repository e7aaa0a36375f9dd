"""Actor identities of an organisation, and handing a deployment to the person whose push proves who they are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from neural_pipeline.store.sql import record_set, rows, run


@dataclass(frozen=True, slots=True)
class Identity:
    """What one provider tells of a person; `source_id` is their id there."""

    clerk_org_id: str
    canonical_id: str
    source: str
    source_id: str
    username: str | None
    email: str | None
    avatar_url: str | None
    method: str


_KEEP = """
insert into lightfast_org_actor_identities (clerk_org_id, canonical_actor_id, source, source_id, source_username,
  source_email, avatar_url, mapping_method, confidence_score)
select clerk_org_id, canonical_id, source, source_id, left(username, 255), left(email, 255), avatar_url, method, 1.0
from jsonb_to_recordset(cast(:identities as jsonb)) as r(clerk_org_id text, canonical_id text, source text,
  source_id text, username text, email text, avatar_url text, method text)
order by clerk_org_id, source, source_id
on conflict (clerk_org_id, source, source_id) do update
set source_username = coalesce(excluded.source_username, lightfast_org_actor_identities.source_username),
  source_email = coalesce(excluded.source_email, lightfast_org_actor_identities.source_email),
  avatar_url = coalesce(excluded.avatar_url, lightfast_org_actor_identities.avatar_url),
  mapped_at = clock_timestamp()
returning id, clerk_org_id, canonical_actor_id
"""


def keep_identities(connection: Connection, identities: Sequence[Identity]) -> dict[tuple[str, str], int]:
    """Store who acted; what is known already is never erased by nothing. Ids by (organisation, canonical id)."""
    if not identities:
        return {}
    latest: dict[tuple[str, str, str], Identity] = {}
    for identity in identities:
        key = (identity.clerk_org_id, identity.source, identity.source_id)
        latest[key] = _merged(latest.get(key), identity)
    records = (
        {name: getattr(identity, name) for name in Identity.__dataclass_fields__} for identity in latest.values()
    )
    kept = rows(connection, _KEEP, identities=record_set(records))
    return {(row["clerk_org_id"], row["canonical_actor_id"]): row["id"] for row in kept}


def _merged(old: Identity | None, new: Identity) -> Identity:
    if old is None:
        return new
    return replace(
        new,
        username=new.username or old.username,
        email=new.email or old.email,
        avatar_url=new.avatar_url or old.avatar_url,
        method=old.method,
    )


_ADOPT = """
with told as (
  select p.id as push_id, p.workspace_id, c.commit, p.actor, p.actor_id, p.canonical_actor_id,
    case when lower(p.metadata ->> 'headAuthorLogin') = lower(p.actor ->> 'name')
      then p.metadata ->> 'headAuthorName' end as author_name
  from lightfast_workspace_neural_observations p
  cross join lateral (
    select jsonb_build_array(jsonb_build_object('type', 'commit', 'id', r ->> 'id')) as commit
    from jsonb_array_elements(p.source_references) r where r ->> 'type' = 'commit'
  ) c
  where p.id = any(:pushes) and p.actor ->> 'id' ~ '^[0-9]+$'
), matching as (
  select o.id, t.* from told t
  join lightfast_workspace_neural_observations o
    on o.workspace_id = t.workspace_id and o.source = 'vercel' and o.source_references @> t.commit
  where o.actor ->> 'id' !~ '^[0-9]+$'
    and (lower(t.actor ->> 'name') in (lower(o.actor ->> 'id'), lower(o.actor ->> 'name'))
      or lower(t.author_name) in (lower(o.actor ->> 'id'), lower(o.actor ->> 'name')))
  order by o.id for update of o
), adopted as (
  select distinct on (id) * from matching order by id, push_id
)
update lightfast_workspace_neural_observations o
set actor = t.actor || o.actor || jsonb_build_object('id', t.actor ->> 'id'), actor_id = t.actor_id,
  canonical_actor_id = t.canonical_actor_id, actor_method = 'commit_sha'
from adopted t where o.id = t.id
"""


def adopt_commit_authors(connection: Connection, pushes: Sequence[int]) -> int:
    """Give deployments of the pushed commits the pusher's id where both name the same person; return how many."""
    return run(connection, _ADOPT, pushes=list(pushes)) if pushes else 0
