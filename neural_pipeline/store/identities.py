"""Actor identities of an organisation, and handing a deployment to the person whose push proves who they are.

Whoever writes identities takes all of them in one call of `keep_identities` first, which holds them in key order: what
comes after in the transaction finds them held.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from neural_pipeline.contracts.memory import Handover
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
returning id, clerk_org_id, source || ':' || source_id as told_id
"""


def keep_identities(connection: Connection, identities: Sequence[Identity]) -> dict[tuple[str, str], int]:
    """Store who acted; what is known already is never erased by nothing. Ids by (organisation, canonical id).

    An identity that points to another account by now keeps doing so, and is found by the id it was given with. A
    transaction calls this once: a second call would hold more, out of order.
    """
    if not identities:
        return {}
    latest: dict[tuple[str, str, str], Identity] = {}
    for identity in map(_without_blanks, identities):
        key = (identity.clerk_org_id, identity.source, identity.source_id)
        latest[key] = _merged(latest.get(key), identity)
    records = (
        {name: getattr(identity, name) for name in Identity.__dataclass_fields__} for identity in latest.values()
    )
    kept = rows(connection, _KEEP, identities=record_set(records))
    return {(row["clerk_org_id"], row["told_id"]): row["id"] for row in kept}


def _without_blanks(one: Identity) -> Identity:
    """A name of blanks is no name: it must not erase one that is known."""
    return replace(one, username=_text(one.username), email=_text(one.email), avatar_url=_text(one.avatar_url))


def _text(told: str | None) -> str | None:
    return told if told and told.strip() else None


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


_POINT = """
with given as (
  select clerk_org_id, actor_id, min(account) as account, count(distinct account) as accounts
  from jsonb_to_recordset(cast(:pairs as jsonb)) as r(clerk_org_id text, actor_id text, account text)
  group by clerk_org_id, actor_id
), merged_elsewhere as materialized (
  select g.clerk_org_id, g.actor_id from given g
  join lightfast_org_workspaces w on w.clerk_org_id = g.clerk_org_id
  join lightfast_workspace_actor_profiles p on p.workspace_id = w.id and p.actor_id = g.actor_id
  where p.merged_into <> g.account
), judged as (
  select i.id, g.actor_id, g.account,
    g.accounts > 1 or i.canonical_actor_id not in (g.actor_id, g.account)
      or (g.clerk_org_id, g.actor_id) in (select clerk_org_id, actor_id from merged_elsewhere) as is_contradicted,
    exists (
      select from lightfast_org_workspaces w
      join lightfast_workspace_neural_observations o on o.workspace_id = w.id and o.canonical_actor_id = g.actor_id
      where w.clerk_org_id = g.clerk_org_id
    ) as acts_still
  from given g
  join lightfast_org_actor_identities i on i.clerk_org_id = g.clerk_org_id
    and i.source = split_part(g.actor_id, ':', 1) and i.source_id = substr(g.actor_id, strpos(g.actor_id, ':') + 1)
  where i.mapping_method <> 'ambiguous'
  order by i.clerk_org_id, i.source, i.source_id for no key update of i
)
update lightfast_org_actor_identities i
set canonical_actor_id = case when j.is_contradicted then j.actor_id else j.account end,
  mapping_method = case when j.is_contradicted then 'ambiguous' else 'commit_sha' end, mapped_at = clock_timestamp()
from judged j where i.id = j.id and (j.is_contradicted or not j.acts_still)
"""


def point_to_accounts(connection: Connection, pairs: Sequence[tuple[str, str, str]]) -> int:
    """Point identities, given as (organisation, canonical id, account), to the account; return how many changed.

    Not while the organisation has observations under the old id. Where two accounts are told of one name, it points to
    itself for good: a display name may be two people's.
    """
    if not pairs:
        return 0
    names = ("clerk_org_id", "actor_id", "account")
    return run(connection, _POINT, pairs=record_set(dict(zip(names, pair, strict=True)) for pair in sorted(set(pairs))))


# Not `for update`: it would wait for an extraction that keeps these observations from going, and that in turn for
# entities that this transaction has written.
_ADOPT = """
with told as (
  select p.id as push_id, p.event_id, p.workspace_id, c.commit, p.actor, p.actor_id, p.canonical_actor_id,
    case when lower(p.metadata ->> 'headAuthorLogin') = lower(p.actor ->> 'name')
      then p.metadata ->> 'headAuthorName' end as author_name
  from lightfast_workspace_neural_observations p
  cross join lateral (
    select jsonb_build_array(jsonb_build_object('type', 'commit', 'id', r ->> 'id')) as commit
    from jsonb_array_elements(p.source_references) r where r ->> 'type' = 'commit'
  ) c
  where p.id = any(:pushes) and p.actor ->> 'id' ~ '^[0-9]+$'
), matching as (
  select o.id, o.canonical_actor_id as old_actor_id, t.* from told t
  join lightfast_workspace_neural_observations o
    on o.workspace_id = t.workspace_id and o.source = 'vercel' and o.source_references @> t.commit
  where o.actor ->> 'id' !~ '^[0-9]+$'
    and (lower(t.actor ->> 'name') in (lower(o.actor ->> 'id'), lower(o.actor ->> 'name'))
      or lower(t.author_name) in (lower(o.actor ->> 'id'), lower(o.actor ->> 'name')))
  order by o.id for no key update of o
), adopted as (
  select distinct on (id) * from matching order by id, push_id
)
update lightfast_workspace_neural_observations o
set actor = t.actor || o.actor || jsonb_build_object('id', t.actor ->> 'id'), actor_id = t.actor_id,
  canonical_actor_id = t.canonical_actor_id, actor_method = 'commit_sha'
from adopted t where o.id = t.id
returning t.event_id, o.workspace_id, o.external_id as observation_id, t.old_actor_id,
  t.canonical_actor_id as merged_into
"""


def adopt_commit_authors(connection: Connection, pushes: Sequence[int]) -> list[Handover]:
    """Give deployments of the pushed commits the pusher's id where both name the same person.

    Returns one handover per push and old actor, however many deployments went over.
    """
    if not pushes:
        return []
    adopted = sorted(rows(connection, _ADOPT, pushes=list(pushes)), key=lambda row: row["observation_id"])
    told = [Handover(**row) for row in adopted if row["old_actor_id"] is not None]
    return list({(one.event_id, one.old_actor_id): one for one in told}.values())
