//! Blocks and bans: in the state, and in the kernel's table.

use ipnet::IpNet;
use muralla_abi::bans::{Ban, Cause};
use muralla_abi::table::Seeds;

use super::{BlockEntry, BlockRequest, Wall, WallError, unix_now};
use crate::ban_table::{BanTable, Wanted, blockable};
use crate::state::Block;

impl Wall {
    /// Blocks a prefix. IPv6 is blocked by the first 64 bits at most; the answer says what was blocked.
    pub fn block(&mut self, request: BlockRequest) -> Result<IpNet, WallError> {
        let prefix = blockable(request.prefix);
        if prefix.prefix_len() == 0 {
            return Err(WallError::Everybody);
        }
        self.refuse_guarded(prefix)?;
        let names = request.services.unwrap_or_default();
        let services = self.service_bits(&names)?;
        let until = request.ttl.map(|ttl| unix_now().saturating_add(ttl.as_secs()));
        let clock = self.clock_at(unix_now())?;
        self.ban_table().set(&Wanted {
            prefix,
            cause: Cause::Operator,
            services,
            until: until.map_or(Ban::NEVER, |until| clock.second(until)),
        })?;
        let block = Block { note: request.note, until, services: names };
        self.state.blocks.insert(prefix, block);
        self.save()?;
        Ok(prefix)
    }

    /// Ends a block, or the ban of an offender, who starts with a clean sheet. Tells whether there was one.
    pub fn unblock(&mut self, prefix: IpNet) -> Result<bool, WallError> {
        let prefix = blockable(prefix);
        let blocked = self.state.blocks.remove(&prefix).is_some();
        let banned = self.offenders.pardon(prefix);
        self.ban_table().remove(prefix);
        self.reconcile_bans()?;
        self.save()?;
        Ok(blocked || banned)
    }

    /// Every block and ban in force.
    pub fn blocks(&self) -> Result<Vec<BlockEntry>, WallError> {
        let now = unix_now();
        let table = self.ban_table();
        let operator = self.state.blocks.iter().map(|(prefix, block)| BlockEntry {
            prefix: *prefix,
            origin: "operator".to_owned(),
            note: block.note.clone(),
            expires_in: block.until.map(|until| until.saturating_sub(now)),
            hits: table.hits(*prefix),
            services: block.services.clone(),
        });
        let offence = self
            .offenders
            .active(now)
            .into_iter()
            .filter(|ban| !self.state.blocks.contains_key(&ban.prefix))
            .map(|ban| BlockEntry {
                prefix: ban.prefix,
                origin: "offence".to_owned(),
                hits: table.hits(ban.prefix),
                note: ban.reason,
                expires_in: Some(ban.until.saturating_sub(now)),
                services: vec![ban.service],
            });
        Ok(operator.chain(offence).collect())
    }

    /// Makes the kernel's table say what the state says. What doesn't fit is left out, and told.
    pub(super) fn reconcile_bans(&self) -> Result<(), WallError> {
        let clock = self.clock_at(unix_now())?;
        let mut wanted = Vec::new();
        for (prefix, block) in &self.state.blocks {
            // A service that is no longer configured has no number: the entry is kept, without effect.
            let services = self.service_bits(&block.services).unwrap_or(0);
            let until = block.until.map_or(Ban::NEVER, |until| clock.second(until));
            wanted.push(Wanted { prefix: *prefix, cause: Cause::Operator, services, until });
        }
        for ban in self.offenders.active(unix_now()) {
            if !self.state.blocks.contains_key(&ban.prefix) {
                let services = self.service_bits(std::slice::from_ref(&ban.service)).unwrap_or(0);
                let until = clock.second(ban.until);
                wanted.push(Wanted { prefix: ban.prefix, cause: Cause::Offence, services, until });
            }
        }
        Ok(self.ban_table().reconcile(&wanted)?)
    }

    /// Everybody who must not be cut off, and what he is.
    pub(super) fn guarded(&self) -> Vec<(IpNet, &'static str)> {
        let hosts = self.own.values().flatten();
        let hosts = hosts.map(|net| (IpNet::from(net.addr()), "an address of this machine"));
        let own = self.config.own.iter().map(|prefix| (*prefix, "configured as our own"));
        let protected = self.config.protected.iter().map(|prefix| (*prefix, "protected"));
        hosts.chain(own).chain(protected).collect()
    }

    pub(super) fn refuse_guarded(&self, prefix: IpNet) -> Result<(), WallError> {
        let overlaps = |guarded: &IpNet| guarded.contains(&prefix) || prefix.contains(guarded);
        match self.guarded().into_iter().find(|(guarded, _)| overlaps(guarded)) {
            Some((guarded, why)) => Err(WallError::Guarded { prefix, guarded, why }),
            None => Ok(()),
        }
    }

    pub(super) fn service_bits(&self, services: &[String]) -> Result<u16, WallError> {
        if services.is_empty() {
            return Ok(1);
        }
        services.iter().try_fold(0, |bits, name| {
            let number = self.config.services.iter().position(|service| service.name == *name);
            match number {
                Some(number) if number > 0 => Ok(bits | 1 << number),
                _ => Err(WallError::NoService {
                    name: name.clone(),
                    known: self.service_names().get(1..).unwrap_or_default().join(", "),
                }),
            }
        })
    }

    pub(super) fn ban_table(&self) -> BanTable<'_, Seeds> {
        BanTable { bans: &self.bans, hits: &self.ban_hits, key: &self.seeds }
    }
}
