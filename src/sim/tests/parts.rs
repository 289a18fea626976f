//! What a part hears that stood still: one connection to its end and then a new one, never a connection with holes.

use base::Epoch;

use crate::{
    Options,
    dice::Dice,
    fact::{Part, PowerLoss},
    node::Running,
    params::Params,
    world::World,
};

const SECOND: u64 = 1_000_000;

/// Three machines in one era.
fn three() -> World {
    let mut dice = Dice::new(11);
    let options = Options { nodes: Some(3), ..Options::default() };
    let params = Params::draw(&mut dice, &options);
    let mut world = World::new(11, params, dice, false);
    assert!(world.run_until(10 * SECOND));
    assert!(epoch(&mut world, 0).is_some());
    world
}

/// What the fencer of a machine holds for the epoch in force.
fn epoch(world: &mut World, index: usize) -> Option<Epoch> {
    let Some(Running::Fencer(part)) = &world.machines[index].slot(Part::Fencer).running else {
        panic!("it runs");
    };
    part.epoch()
}

fn after(world: &mut World, span: u64) {
    let end = world.now + span;
    assert!(world.run_until(end), "{:?}", world.log.violation);
}

//= SAFETY.md#S5
//= type=test
#[test]
fn a_fencer_that_stood_still_for_long_does_not_keep_the_epoch_of_a_quorum_that_is_gone() {
    let mut world = three();
    world.freeze(0, Part::Fencer, true);
    after(&mut world, 30 * SECOND);
    assert!(world.machines[0].slot(Part::Fencer).cut_off, "more than its connection holds");
    for other in [1, 2] {
        world.machines[other].mains = false;
        world.power_off(other, PowerLoss::Cut);
    }
    after(&mut world, 5 * SECOND);
    world.freeze(0, Part::Fencer, false);
    assert_eq!(epoch(&mut world, 0), None);
    after(&mut world, SECOND);
    assert_eq!(epoch(&mut world, 0), None);
}

#[test]
fn a_fencer_that_stood_still_or_starts_anew_hears_which_epoch_is_in_force() {
    let mut world = three();
    world.freeze(0, Part::Fencer, true);
    after(&mut world, 30 * SECOND);
    let before = epoch(&mut world, 0);
    world.machines[2].mains = false;
    world.power_off(2, PowerLoss::Cut);
    after(&mut world, 5 * SECOND);
    world.freeze(0, Part::Fencer, false);
    let now = epoch(&mut world, 0);
    assert!(now.is_some() && now != before, "{now:?}");
    world.kill(0, Part::Fencer);
    world.start_part(0, Part::Fencer);
    assert_eq!(epoch(&mut world, 0), now);
}
