-- The hosts that share this database, each under the random id of its shared memory. A host registers before it
-- writes; a registration never expires. No tenant's data, so no row-level security.
--
-- seen_at is raised every 2 s: no index may have it, and the pages have room for HOT updates. 1970-01-01 says that
-- `parley host forget` is about to remove the row, unless the host registers again.
CREATE TABLE hosts (
    workers    integer     NOT NULL,
    alone      boolean     NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    host       text COLLATE "C" PRIMARY KEY CHECK (host ~ '^[0-9a-f]{32}$'),
    address    text        NOT NULL,
    version    text        NOT NULL
) WITH (fillfactor = 20);

