//! What a message may have in it, field by field: checked where a body is more than plain text.

use crate::limits::{
    CAPTION_MAX_BYTES, MENTIONS_MAX, SHORT_TEXT_MAX_BYTES, THUMBNAIL_MAX_BYTES, WAVEFORM_MAX_BYTES,
};
use crate::v1::{self, body::Kind};
use thiserror::Error;

/// A field has more in it than it may.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} has {len} {unit}, more than {most}")]
pub struct TooMuch {
    field: &'static str,
    len: usize,
    unit: &'static str,
    most: usize,
}

fn at_most(field: &'static str, len: usize, most: usize) -> Result<(), TooMuch> {
    if len <= most { Ok(()) } else { Err(TooMuch { field, len, unit: "bytes", most }) }
}

/// Checks what a sender wrote.
///
/// # Errors
/// Names the field that has too much in it.
pub fn check(send: &v1::Send) -> Result<(), TooMuch> {
    if let Some(kind) = send.body.as_ref().and_then(|body| body.kind.as_ref()) {
        of_body(kind)?;
    }
    if let Some(v1::Quote { excerpt, .. }) = &send.reply_to {
        at_most("the excerpt of the quote", excerpt.len(), CAPTION_MAX_BYTES)?;
    }
    if send.mentions.len() > MENTIONS_MAX {
        let (len, most) = (send.mentions.len(), MENTIONS_MAX);
        return Err(TooMuch { field: "mentions", len, unit: "users", most });
    }
    if let Some(v1::LinkPreview { url, title, description, thumbnail }) = &send.link_preview {
        at_most("the url of the preview", url.len(), SHORT_TEXT_MAX_BYTES)?;
        at_most("the title of the preview", title.len(), SHORT_TEXT_MAX_BYTES)?;
        at_most("the description of the preview", description.len(), CAPTION_MAX_BYTES)?;
        at_most("the thumbnail of the preview", thumbnail.len(), THUMBNAIL_MAX_BYTES)?;
    }
    Ok(())
}

fn of_body(kind: &Kind) -> Result<(), TooMuch> {
    match kind {
        // The body's own limit bounds these.
        Kind::Text(_) => Ok(()),
        Kind::Custom(custom) => at_most("content_type", custom.content_type.len(), SHORT_TEXT_MAX_BYTES),
        Kind::Image(media) | Kind::Video(media) | Kind::Document(media) => of_media(media),
        Kind::VoiceNote(v1::VoiceNote { media, waveform }) => {
            at_most("waveform", waveform.len(), WAVEFORM_MAX_BYTES)?;
            media.as_ref().map_or(Ok(()), of_media)
        }
        Kind::Location(v1::Location { name, address, .. }) => {
            at_most("the name of the place", name.len(), SHORT_TEXT_MAX_BYTES)?;
            at_most("the address of the place", address.len(), CAPTION_MAX_BYTES)
        }
        // The card itself is bounded by the body.
        Kind::Contact(v1::Contact { name, user, .. }) => {
            at_most("the name of the contact", name.len(), SHORT_TEXT_MAX_BYTES)?;
            at_most("the user of the contact", user.len(), SHORT_TEXT_MAX_BYTES)
        }
        Kind::Sticker(v1::Sticker { media, pack, emoji }) => {
            at_most("the pack of the sticker", pack.len(), SHORT_TEXT_MAX_BYTES)?;
            at_most("the emoji of the sticker", emoji.len(), SHORT_TEXT_MAX_BYTES)?;
            media.as_ref().map_or(Ok(()), of_media)
        }
    }
}

fn of_media(media: &v1::Media) -> Result<(), TooMuch> {
    at_most("url", media.url.len(), SHORT_TEXT_MAX_BYTES)?;
    at_most("media_type", media.media_type.len(), SHORT_TEXT_MAX_BYTES)?;
    at_most("sha256", media.sha256.len(), SHA256_BYTES)?;
    at_most("file_name", media.file_name.len(), SHORT_TEXT_MAX_BYTES)?;
    at_most("caption", media.caption.len(), CAPTION_MAX_BYTES)?;
    at_most("thumbnail", media.thumbnail.len(), THUMBNAIL_MAX_BYTES)
}

/// What a SHA-256 has.
const SHA256_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send::Outgoing;
    use prost::Message as _;

    fn with(kind: Kind) -> v1::Send {
        v1::Send { body: Some(v1::Body { kind: Some(kind) }), ..v1::Send::default() }
    }

    fn media(part: impl FnOnce(&mut v1::Media)) -> v1::Media {
        let mut media = v1::Media::default();
        part(&mut media);
        media
    }

    /// A message with so much in one of its fields.
    type Fill = fn(usize) -> v1::Send;

    #[test]
    fn each_field_may_have_so_much_and_no_more() {
        let text = |len: usize| "x".repeat(len);
        let rows: [(&str, usize, Fill); 12] = [
            ("url", SHORT_TEXT_MAX_BYTES, |len| {
                with(Kind::Image(media(|media| media.url = "x".repeat(len))))
            }),
            ("caption", CAPTION_MAX_BYTES, |len| {
                with(Kind::Video(media(|media| media.caption = "x".repeat(len))))
            }),
            ("sha256", 32, |len| with(Kind::Document(media(|media| media.sha256 = vec![7; len].into())))),
            ("thumbnail", THUMBNAIL_MAX_BYTES, |len| {
                with(Kind::Image(media(|media| media.thumbnail = vec![7; len].into())))
            }),
            ("waveform", WAVEFORM_MAX_BYTES, |len| {
                with(Kind::VoiceNote(v1::VoiceNote { waveform: vec![7; len].into(), media: None }))
            }),
            ("file_name", SHORT_TEXT_MAX_BYTES, |len| {
                let media = Some(media(|media| media.file_name = "x".repeat(len)));
                with(Kind::VoiceNote(v1::VoiceNote { media, ..v1::VoiceNote::default() }))
            }),
            ("the address of the place", CAPTION_MAX_BYTES, |len| {
                with(Kind::Location(v1::Location { address: "x".repeat(len), ..v1::Location::default() }))
            }),
            ("the name of the contact", SHORT_TEXT_MAX_BYTES, |len| {
                with(Kind::Contact(v1::Contact { name: "x".repeat(len), ..v1::Contact::default() }))
            }),
            ("the emoji of the sticker", SHORT_TEXT_MAX_BYTES, |len| {
                with(Kind::Sticker(v1::Sticker { emoji: "x".repeat(len), ..v1::Sticker::default() }))
            }),
            ("content_type", SHORT_TEXT_MAX_BYTES, |len| {
                with(Kind::Custom(v1::Custom { content_type: "x".repeat(len), ..v1::Custom::default() }))
            }),
            ("the excerpt of the quote", CAPTION_MAX_BYTES, |len| v1::Send {
                reply_to: Some(v1::Quote { excerpt: "x".repeat(len), ..v1::Quote::default() }),
                ..with(Kind::Text("yes".to_owned()))
            }),
            ("the description of the preview", CAPTION_MAX_BYTES, |len| v1::Send {
                link_preview: Some(v1::LinkPreview {
                    description: "x".repeat(len),
                    ..v1::LinkPreview::default()
                }),
                ..with(Kind::Text("see".to_owned()))
            }),
        ];
        for (field, most, fill) in rows {
            assert_eq!(check(&fill(most)), Ok(()), "{field}");
            let error = check(&fill(most + 1)).unwrap_err();
            assert_eq!(error.to_string(), format!("{field} has {} bytes, more than {most}", most + 1));
            // And so it is refused where messages come in, in both encodings.
            let payload = fill(most + 1).encode_to_vec().into();
            assert_eq!(Outgoing::parse(&payload).unwrap_err().to_string(), error.to_string());
            assert!(Outgoing::parse(&fill(most).encode_to_vec().into()).is_ok(), "{field}");
        }
        let mentions =
            |count| v1::Send { mentions: vec![v1::Mention::default(); count], ..with(Kind::Text(text(3))) };
        assert_eq!(check(&mentions(MENTIONS_MAX)), Ok(()));
        assert!(
            check(&mentions(MENTIONS_MAX + 1)).unwrap_err().to_string().starts_with("mentions has 257 users")
        );
    }
}
