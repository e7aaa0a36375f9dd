-- Waiting for a lock must not hold up everybody behind us: the caller has set lock_timeout.
select 1;
