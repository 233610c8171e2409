"""The README.md of an exported folder: the lines that run it."""

from __future__ import annotations

from panoptic_blend.runtime.manifest import MODEL, Manifest

_WHOLE = """\
# A panoptic segmentation model

{file} a picture, uint8 RGB `[H, W, 3]` of {sizes}, and {give} `id_map` int32 `[H, W]` (0 = void), `segments`
int32 `[N, 8]` (id, category_id, is_thing, area, x, y, width, height) and `scores` float `[N]`. What a category id
means stands in `model.json`. `min_score`, `max_overlap` (float) and `min_stuff_area` (int64) may be given with each
picture; by default they are {min_score:g}, {max_overlap:g} and {min_stuff_area}. Pictures are upright and of
8 bits: turn those of cameras as their EXIF says, and scale 16 bits down.

`panoptic-blend predict --checkpoint FOLDER --input picture.jpg --output out` runs it as well, with or without torch.
"""
_INT8 = """
The network inside computes in 8-bit integers, calibrated and measured on {cpu}; `measured` in `model.json` says what
that cost, and which parts stayed in float. Other processors may add up differently: measure there again.
"""
_ONNX = """
Python (`pip install onnxruntime pillow`):

    import numpy as np, onnxruntime
    from PIL import Image, ImageOps
    session = onnxruntime.InferenceSession("model.onnx")
    picture = np.asarray(ImageOps.exif_transpose(Image.open("picture.jpg")).convert("RGB"))
    id_map, segments, scores = session.run(["id_map", "segments", "scores"], {"image": picture})
    for (number, category, *_), score in zip(segments.tolist(), scores):
        print(number, category, round(float(score), 3))

C++ (headers and library of onnxruntime's releases, or Debian's `libonnxruntime-dev`):

    // g++ -std=c++17 main.cpp $(pkg-config --cflags --libs libonnxruntime) -o main
    #include <cstdio>
    #include <fstream>
    #include <string>
    #include <vector>
    #include <onnxruntime_cxx_api.h>

    int main() {
      std::ifstream file("picture.ppm", std::ios::binary);  // of 8 bits: convert picture.jpg picture.ppm
      std::string kind;
      int64_t width, height, white;
      file >> kind >> width >> height >> white;
      std::vector<uint8_t> pixels(height * width * 3);
      file.ignore().read(reinterpret_cast<char*>(pixels.data()), pixels.size());
      Ort::Env env;
      Ort::Session session(env, "model.onnx", Ort::SessionOptions());
      auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
      int64_t shape[] = {height, width, 3};
      auto image = Ort::Value::CreateTensor<uint8_t>(memory, pixels.data(), pixels.size(), shape, 3);
      const char *inputs[] = {"image"}, *outputs[] = {"id_map", "segments", "scores"};
      auto found = session.Run(Ort::RunOptions(), inputs, &image, 1, outputs, 3);
      const int32_t* segments = found[1].GetTensorData<int32_t>();
      const float* scores = found[2].GetTensorData<float>();
      for (size_t i = 0; i < found[2].GetTensorTypeAndShapeInfo().GetElementCount(); i++)
        std::printf("%d %d %.3f\\n", segments[8 * i], segments[8 * i + 1], scores[i]);
    }

JavaScript (`npm install onnxruntime-node sharp`):

    const ort = require("onnxruntime-node"), sharp = require("sharp");
    (async () => {
      const session = await ort.InferenceSession.create("model.onnx");
      const picture = sharp("picture.jpg").rotate().removeAlpha().toColourspace("srgb").raw();
      const { data, info } = await picture.toBuffer({ resolveWithObject: true });
      const image = new ort.Tensor("uint8", new Uint8Array(data), [info.height, info.width, 3]);
      const { id_map, segments, scores } = await session.run({ image });
      for (let i = 0; i < scores.data.length; i++)
        console.log(segments.data[8 * i], segments.data[8 * i + 1], scores.data[i].toFixed(3));
    })();
"""
_OPENVINO = """
Python (`pip install openvino onnxruntime pillow`):

    import numpy as np, onnxruntime, openvino
    from PIL import Image, ImageOps
    before, after = (onnxruntime.InferenceSession(f"{name}.onnx") for name in ("before", "after"))
    network = openvino.Core().compile_model("network.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    image = {"image": np.asarray(ImageOps.exif_transpose(Image.open("picture.jpg")).convert("RGB"))}
    raw = network(before.run(None, image)[0])
    raw = {port.any_name: values for port, values in raw.items()}
    id_map, segments, scores = after.run(["id_map", "segments", "scores"], image | raw)
    for (number, category, *_), score in zip(segments.tolist(), scores):
        print(number, category, round(float(score), 3))
"""
_NETWORK = """\
# The network of a panoptic segmentation model

`{file}` is a `torch.export` program of the network alone, for ExecuTorch, AOTInductor and the like: images float
`[1, 3, H, W]`, normalised as `input` in `model.json` says and padded with zeros to multiples of 32, in; raw tensors out
(class logits, distances, centerness and towers of every level, the pyramid, bases, stuff logits). What follows the
network is not inside: `--format onnx` has it.

    import torch
    network = torch.export.load("model.pt2").module()
    outputs = network(torch.zeros(1, 3, {height}, {width}{half}))
"""


def instructions(manifest: Manifest, example: tuple[int, int]) -> str:
    """What stands in the folder's README.md.

    Args:
        example: (height, width) of an input that the network takes.
    """
    file, size = manifest.files[MODEL].name, manifest.input.size
    if manifest.runtime == "torch":
        half = ", dtype=torch.float16" if manifest.precision == "fp16" else ""
        return _NETWORK.format(file=file, half=half, height=example[0], width=example[1])
    settings, openvino = manifest.settings, manifest.runtime == "openvino"
    text = _WHOLE.format(
        file="Together, `before.onnx`, `network.xml` and `after.onnx` take" if openvino else f"`{file}` takes",
        give="give" if openvino else "gives",
        sizes="any size" if size is None else f"{size[0]} x {size[1]} pixels (height x width)",
        min_score=settings.min_score,
        max_overlap=settings.max_overlap,
        min_stuff_area=settings.min_stuff_area,
    )
    if manifest.precision == "int8":
        text += _INT8.format(cpu=manifest.cpu)
    return text + (_OPENVINO if openvino else _ONNX)
