//! What there is around the layers, whether in front of one server or of many: opened in the
//! order in which it may fail, and ended once nothing more is served.

use std::{net::SocketAddr, sync::Arc};

use mcp_policy::{ApprovalStore, AuditSink, SessionStore, Webhook};
use tokio::net::TcpListener;

use crate::{
    access::Access,
    admin::Admin,
    audit::{self, Lost, Place, Records},
    failure::Failure,
    listening,
    monitor::{Gauge, Monitor, Obstacle, Watched, WatchedStores},
    state::{Counted, Opened},
    traces,
    webhook::{self, Told},
};

/// What is asked for.
pub(crate) struct Wanted<'a> {
    pub(crate) listen: SocketAddr,
    /// What somebody can do if that is taken.
    pub(crate) otherwise: &'static str,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) audit: Option<&'a Place>,
    pub(crate) audit_keep: Option<u32>,
}

/// Where state is kept, as far as others than the layers need it.
pub(crate) struct Kept {
    pub(crate) approvals: Option<Arc<dyn ApprovalStore>>,
    pub(crate) counted: Option<Counted>,
    pub(crate) sessions: Option<Arc<dyn SessionStore>>,
    pub(crate) opened: Opened,
}

/// What is open before it is known where state is kept.
pub(crate) struct Begun {
    admin: Admin,
    monitor: Option<Monitor>,
    records: Option<Records>,
    lost: Lost,
    audit: Arc<dyn AuditSink>,
    listener: TcpListener,
}

/// All that there is around the layers.
pub(crate) struct Around {
    pub(crate) admin: Admin,
    pub(crate) audit: Arc<dyn AuditSink>,
    pub(crate) listener: TcpListener,
    pub(crate) monitoring: Monitoring,
    pub(crate) ending: Ending,
}

/// Opens what can be had without the place where state is kept.
pub(crate) async fn begin(wanted: &Wanted<'_>, admin: Admin) -> Result<Begun, Failure> {
    let monitor = match wanted.metrics {
        Some(address) => Some(Monitor::new(address).await?),
        None => None,
    };
    traces::start()?;
    let records = audit::open(wanted.audit, wanted.audit_keep)?;
    let admin = admin.recording_in(wanted.audit);
    let lost = Lost::default();
    let audit = lost.beside(admin.shown_beside(records.clone()));
    let listener = listening::bind(wanted.listen, wanted.otherwise).await?;
    Ok(Begun {
        admin,
        monitor,
        records,
        lost,
        audit,
        listener,
    })
}

impl Begun {
    /// The rest, with state kept there and somebody told of what waits, if that is wanted.
    pub(crate) fn keeping_in(self, kept: Kept, webhook: Option<Webhook>) -> Around {
        let admin = self.admin.keeping_in(kept.approvals);
        let admin = admin.counting_in(kept.counted);
        let stores = WatchedStores {
            sessions: kept.sessions,
            approvals: admin.approvals(),
        };
        Around {
            audit: self.audit,
            listener: self.listener,
            monitoring: Monitoring {
                monitor: self.monitor,
                watched: Watched::new(stores, self.lost),
            },
            ending: Ending {
                told: webhook.map(|webhook| webhook::tell(webhook, &admin.approvals())),
                records: self.records,
                opened: kept.opened,
            },
            admin,
        }
    }
}

/// Monitoring, which nobody has told anything yet.
pub(crate) struct Monitoring {
    monitor: Option<Monitor>,
    watched: Watched,
}

impl Monitoring {
    /// The same, which watches this, too.
    pub(crate) fn watching(mut self, obstacle: Obstacle) -> Self {
        self.watched.obstacles.push(obstacle);
        self
    }

    /// The same, which tells this, too.
    pub(crate) fn telling(mut self, gauge: Gauge) -> Self {
        self.watched.gauges.push(gauge);
        self
    }

    /// Tells it, once there is nothing any more that could keep this program from serving.
    pub(crate) fn open(self, callers: &Access) {
        if let Some(monitor) = self.monitor {
            monitor.open(callers, self.watched);
        }
    }
}

/// What has to be waited for at the end.
pub(crate) struct Ending {
    told: Option<Told>,
    records: Option<Records>,
    opened: Opened,
}

impl Ending {
    /// Waits for it, but not for ever.
    pub(crate) async fn end(self) {
        let telling = async {
            if let Some(told) = self.told {
                told.end().await;
            }
        };
        tokio::join!(telling, audit::close(self.records), self.opened.close());
    }
}
