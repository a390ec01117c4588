-- Firmware images, each once and in pieces; and which of them each meter was last sent.

CREATE TABLE images (
  sha256     varchar     COLLATE "C" NOT NULL PRIMARY KEY,  -- hex
  name       varchar     COLLATE "C" NOT NULL,
  size       bigint      NOT NULL,
  created_at timestamptz NOT NULL,
  begun_at   timestamptz NOT NULL,
  sealed     boolean     NOT NULL DEFAULT false             -- until then nobody sees it
);
CREATE UNIQUE INDEX ix_images_name ON images (name) WHERE sealed;

-- Images don't compress: no time is spent on trying.
CREATE TABLE image_chunks (
  sha256 varchar COLLATE "C" NOT NULL,
  number integer NOT NULL,
  octets bytea   NOT NULL,
  PRIMARY KEY (sha256, number)
);
ALTER TABLE image_chunks ALTER COLUMN octets SET STORAGE EXTERNAL;

CREATE TABLE image_transfers (
  device_id varchar COLLATE "C" NOT NULL PRIMARY KEY,
  sha256    varchar COLLATE "C" NOT NULL,
  blocks    integer NOT NULL,  -- known to have arrived
  total     integer NOT NULL
) WITH (fillfactor = 70);
