//! Tags: what a file says about itself in words (RFC 9559, section 5.1.8).

use crate::error::Result;
use crate::mkv::ebml;
use std::borrow::Cow;
use webm_iterable::matroska_spec::{Master, MatroskaSpec};

/// A name in capitals and its value.
pub(crate) type Tag = (Cow<'static, str>, String);

/// All tags of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tags {
    /// Of the whole file.
    pub file: Vec<Tag>,
    /// Of one track each, by its unique id.
    pub tracks: Vec<(u64, Vec<Tag>)>,
}

impl Tags {
    /// The Tags element.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let file = tag(Vec::new(), &self.file);
        let tracks = self.tracks.iter().map(|(uid, tags)| tag(vec![MatroskaSpec::TagTrackUID(*uid)], tags));
        ebml::in_segment(&MatroskaSpec::Tags(Master::Full(std::iter::once(file).chain(tracks).collect())))
    }
}

fn tag(targets: Vec<MatroskaSpec>, tags: &[Tag]) -> MatroskaSpec {
    let simple = tags.iter().map(|(name, value)| {
        MatroskaSpec::SimpleTag(Master::Full(vec![
            MatroskaSpec::TagName(name.to_string()),
            MatroskaSpec::TagLanguage("und".to_owned()),
            MatroskaSpec::TagString(value.clone()),
        ]))
    });
    let children = std::iter::once(MatroskaSpec::Targets(Master::Full(targets))).chain(simple);
    MatroskaSpec::Tag(Master::Full(children.collect()))
}
