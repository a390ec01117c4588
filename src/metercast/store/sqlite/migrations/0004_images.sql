-- Firmware images, each once and in pieces; and which of them each meter was last sent.

CREATE TABLE images (
  sha256     varchar     NOT NULL PRIMARY KEY,  -- hex
  name       varchar     NOT NULL,
  size       integer     NOT NULL,
  created_at timestamptz NOT NULL,
  begun_at   timestamptz NOT NULL,
  sealed     integer     NOT NULL DEFAULT 0     -- until then nobody sees it
) WITHOUT ROWID;
CREATE UNIQUE INDEX ix_images_name ON images (name) WHERE sealed = 1;

CREATE TABLE image_chunks (
  sha256 varchar NOT NULL,
  number integer NOT NULL,
  octets blob    NOT NULL,
  PRIMARY KEY (sha256, number)
);

CREATE TABLE image_transfers (
  device_id varchar NOT NULL PRIMARY KEY,
  sha256    varchar NOT NULL,
  blocks    integer NOT NULL,  -- known to have arrived
  total     integer NOT NULL
) WITHOUT ROWID;
