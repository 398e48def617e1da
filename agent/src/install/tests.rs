mod acls;
mod behaviour;
mod faults;
mod file_exists;
mod filesystems;
mod groups;
mod world;
