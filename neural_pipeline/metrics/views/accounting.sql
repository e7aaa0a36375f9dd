-- The latest audit that was kept.
select rule, expected, found, unexplained, audited_at
from accounting_audits
where (audited_at, audit_id) = (
  select audited_at, audit_id from accounting_audits order by audited_at desc, audit_id desc limit 1
)
