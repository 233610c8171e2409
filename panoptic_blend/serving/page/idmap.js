// Reads the panoptic PNG of an answer. A canvas would read it, too, but some browsers add noise to what it gives.

/** The ids of a panoptic PNG (8-bit RGB, not interlaced): {width, height, ids: Uint32Array}, id = R + 256 G + 65536 B. */
export async function decodeIds(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let [width, height] = [0, 0];
  const parts = [];
  for (let at = 8; at < bytes.length;) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IHDR") [width, height] = [view.getUint32(at + 8), view.getUint32(at + 12)];
    if (kind === "IDAT") parts.push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const rows = new Uint8Array(await new Response(stream).arrayBuffer());
  const ids = new Uint32Array(width * height);
  const stride = 3 * width;
  let above = new Uint8Array(stride);
  for (let y = 0; y < height; y++) {
    const start = y * (stride + 1);
    const row = rows.subarray(start + 1, start + 1 + stride);
    unfilter(rows[start], row, above);
    for (let x = 0, at = 0; x < width; x++, at += 3) ids[y * width + x] = row[at] | (row[at + 1] << 8) | (row[at + 2] << 16);
    above = row;
  }
  return { width, height, ids };
}

/** Undo one of PNG's five filters in place; three bytes a pixel (PNG specification, section 9). */
function unfilter(filter, row, above) {
  for (let at = 0; at < row.length; at++) {
    const left = at < 3 ? 0 : row[at - 3];
    const up = above[at];
    if (filter === 1) row[at] += left;
    else if (filter === 2) row[at] += up;
    else if (filter === 3) row[at] += (left + up) >> 1;
    else if (filter === 4) row[at] += nearest(left, up, at < 3 ? 0 : above[at - 3]);
  }
}

function nearest(left, up, corner) {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
