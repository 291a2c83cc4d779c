"""runtime.engine.tensorrt.build with a fake TensorRT: FAKE_TENSORRT_GENERATION, and what `fake` reads."""

import os
import sys

from runtime.engine.tensorrt import build as tensorrt_build
from tests.runtime.engine.tensorrt import fake as fake_tensorrt

if __name__ == "__main__":
    if os.environ.get("FAKE_TENSORRT") == "crash at import":
        os.abort()
    sys.modules["tensorrt"] = fake_tensorrt.make(os.environ["FAKE_TENSORRT_GENERATION"])
    code = tensorrt_build.main(sys.argv[1:], fake_tensorrt.FakeCuda)
    os._exit(code)
