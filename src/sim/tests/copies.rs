//! An old copy of a state directory is put back where somebody can notice, and nowhere else.

use crate::{
    Options, copies::would_be_noticed, dice::Dice, fact::Part, params::Params, world::World,
};

const SECOND: u64 = 1_000_000;

/// Three machines, of which the first is copied; then the second leaves and comes back, so all promise anew.
fn promised_anew() -> World {
    let mut dice = Dice::new(11);
    let options = Options { nodes: Some(3), ..Options::default() };
    let params = Params::draw(&mut dice, &options);
    let mut world = World::new(11, params, dice, false);
    assert!(world.run_until(10 * SECOND));
    world.machines[0].disk.back_up();
    assert!(
        !would_be_noticed(&world.machines, 0),
        "it forgets nothing: what it holds is the newest"
    );
    for part in Part::ALL {
        world.kill(1, part);
    }
    assert!(world.run_until(60 * SECOND));
    world
}

#[test]
fn a_copy_that_all_others_would_notice_may_be_put_back() {
    let world = promised_anew();
    assert!(would_be_noticed(&world.machines, 0));
}

#[test]
fn a_copy_that_one_other_would_not_notice_may_not() {
    let mut world = promised_anew();
    // the third knows no more than the copy does
    let old = world.machines[0].disk.backup.clone().expect("it was copied");
    world.machines[2].disk.files = old;
    assert!(!would_be_noticed(&world.machines, 0));
    // an empty one promises nothing
    world.machines[2].disk.wipe();
    assert!(would_be_noticed(&world.machines, 0));
}

#[test]
fn who_knows_of_a_copy_that_was_put_back_is_not_made_to_forget() {
    let mut world = promised_anew();
    world.machines[0].disk.restore();
    let old = world.machines[0].disk.backup.clone().expect("it was copied");
    world.machines[1].disk.backup = Some(old);
    assert!(!would_be_noticed(&world.machines, 1));
}
