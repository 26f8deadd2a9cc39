//! Receives the body of a request.

use axum::body::Body;
use http_body_util::BodyExt as _;

/// Copies a body of at most `most` bytes into one buffer as it arrives; `None` if it is larger or was cut off. A list of the frames would
/// take 32 bytes for each, and a frame can be one byte.
pub(super) async fn collect(mut body: Body, most: usize) -> Option<Vec<u8>> {
    // The kernel provides memory on the first write, so the part of a body that does not arrive takes none.
    let mut bytes = Vec::with_capacity(most);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data() {
            if data.len() > most - bytes.len() {
                return None;
            }
            bytes.extend_from_slice(&data);
        }
    }
    Some(bytes)
}
