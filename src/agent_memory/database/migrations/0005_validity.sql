-- When an observation held. What a later one supersedes held until that one began to.

alter table mem_observations
    add column valid_from timestamptz,       -- null: since it occurred
    add column valid_until timestamptz,      -- null: nobody said that it no longer holds
    add column retracted_because text;       -- why it does not, in the words of whoever said so
