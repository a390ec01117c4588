"""`metercast serve` with the driver that does nothing. Settings come from the environment, as for the real one."""

import os
import sys

from metercast import app
from metercast.config import Config
from metercast.driver.noop import NoopDriver

if __name__ == "__main__":
    sys.exit(app.run(Config.load(os.environ), lambda config, store: NoopDriver()))
