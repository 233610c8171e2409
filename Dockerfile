# Two images of the command line:
#   docker build --tag panoptic-blend .                             everything; uses a GPU when there is one
#   docker build --target exported --tag panoptic-blend:exported .  runs exported folders on CPUs, without PyTorch
# and how to use one, with a folder of yours as /work (and --gpus all for a GPU; --shm-size is for training's loaders):
#   docker run --rm --shm-size 2g --volume "$PWD:/work" panoptic-blend predict --checkpoint runs/mine --input photos --output out
ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm AS base
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv && useradd --create-home --uid 1000 user
WORKDIR /source
COPY pyproject.toml setup.cfg README.md LICENSE requirements-runtime.txt ./
COPY configs configs
COPY panoptic_blend panoptic_blend

FROM base AS exported
RUN pip install --requirement requirements-runtime.txt && pip install --no-deps .
WORKDIR /work
USER 1000
ENTRYPOINT ["panoptic-blend"]
CMD ["--help"]

# On x86, PyTorch comes for GPUs and takes gigabytes. Its own package index has it for CPUs alone:
#   --build-arg TORCH_INDEX=<the address that pytorch.org gives for pip and CPU>
FROM base AS full
ARG TORCH_INDEX
# hadolint ignore=DL3013  # setup.cfg bounds the versions
RUN pip install '.[onnx,timm,web]' ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}
WORKDIR /work
USER 1000
ENTRYPOINT ["panoptic-blend"]
CMD ["--help"]
