//! What the collector `port` is told of links.

use std::{path::PathBuf, sync::Arc};

use super::{shared::Shared, sysfs::Sysfs};
use crate::{
    collectors::{FollowedLink, FollowedLinks},
    devices::IfIndex,
};

/// The table of links, and where sysfs shows them.
pub(super) struct Followed {
    pub(super) shared: Arc<Shared>,
    pub(super) sysfs: Sysfs,
}

impl FollowedLinks for Followed {
    fn list(&self) -> Vec<FollowedLink> {
        self.shared.table().port_candidates()
    }

    fn sysfs_directory(&self, link: IfIndex) -> Option<PathBuf> {
        let link = self.shared.table().link(link)?;
        self.sysfs.directory(&link)
    }

    fn driver_answered(&self, link: IfIndex) {
        self.shared.answered(link);
    }
}
